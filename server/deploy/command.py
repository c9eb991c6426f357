"""The command line of the coordinator's processes: `trifed server start` and `stop`."""

import argparse
from pathlib import Path
from typing import Any


def add_deploy(actions: Any) -> None:
    """The actions of `trifed server` that run it."""
    add_start(actions)
    add_stop(actions)


def add_start(actions: Any) -> None:
    """`trifed server start`."""
    start = actions.add_parser(
        "start",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="run the study, or go on with it",
        description="""Run everything that a study's server needs, until the study has ended:
Flower's SuperLink with TLS, to which hospitals connect; the keys of the sites that were accepted,
also those that join later; and the study, which goes on wherever its folder says it stopped. What
dies is started again. Nothing that happens to these processes costs more than time.

Without --foreground the command returns when the study is under way. Exit code of --foreground: 0
when the study is done, or was stopped; 1 when it ended with an error, which is told.""",
        epilog="""examples:
  trifed server start server                   in the background
  trifed server start server --foreground      as a service of the system (docs/deployment.md)
  trifed server stop server                    end it; start goes on""",
    )
    add_folder(start)
    start.add_argument(
        "--foreground", action="store_true", help="stay until the study has ended; Ctrl-C stops"
    )
    start.set_defaults(run=run_start)


def add_stop(actions: Any) -> None:
    """`trifed server stop`."""
    stop = actions.add_parser(
        "stop",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="end a server's processes; start goes on",
        description="End all processes of a study's server. What was done is saved.",
        epilog="example:\n  trifed server stop server",
    )
    add_folder(stop)
    stop.set_defaults(run=run_stop)


def add_folder(parser: argparse.ArgumentParser) -> None:
    """The server's folder."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="the server's folder")


def run_start(options: argparse.Namespace) -> int:
    """Start in the background, or stay."""
    from server.deploy.place import open_place
    from shared.background import begin

    place = open_place(options.folder)
    if options.foreground:
        return stay(place.folder)
    begin(
        ("server", "start", str(place.folder), "--foreground"),
        lock=place.lock,
        ready=place.ready,
        log=place.logs / "supervisor.log",
    )
    print(f"{place.folder}: the study is under way; it listens on {place.listens_on}")
    print(f"  where it stands:  trifed study status {place.run}")
    print(f"  end it:           trifed server stop {place.folder}")
    print(f"  logs:             {place.logs}")
    return 0


def stay(folder: Path) -> int:
    """Run until the study has ended."""
    from server.deploy.place import open_place, site_keys
    from server.deploy.start import start
    from shared.errors import StoppedError

    place = open_place(folder)
    outcome = start(place, lambda: site_keys(place.folder))
    if outcome is None:
        print("stopped; what was done is saved")
        return 0
    if outcome.code == StoppedError.code:
        print(outcome.words)
        return 0
    if not outcome.completed:
        print(f"the study stopped: {outcome.code}\n{outcome.words}")
        return 1
    print(f"the study is done; its report: {place.run / 'report.html'}")
    return 0


def run_stop(options: argparse.Namespace) -> int:
    """End the processes."""
    from server.deploy.place import open_place
    from server.deploy.start import stop

    place = open_place(options.folder)
    print(f"{place.folder}: {'stopped' if stop(place) else 'was not running'}")
    return 0
