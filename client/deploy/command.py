"""The command line of a hospital's processes: `trifed site start` and `stop`."""

import argparse
from pathlib import Path
from typing import Any


def add_deploy(actions: Any) -> None:
    """The actions of `trifed site` that run its part of a study."""
    add_start(actions)
    add_stop(actions)


def add_start(actions: Any) -> None:
    """`trifed site start`."""
    start = actions.add_parser(
        "start",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="take part in the study that this site joined",
        description="""Run this hospital's part of a study until stopped: the site service, which
alone opens patients' files and talks to no network, and the courier, which calls the study's server
and carries letters between the two. What dies is started again; a cut line costs nothing but time.
Nothing here listens to the network.

Two users of the machine may run the two halves, so that what has the network cannot read a file of
a patient: see docs/deployment.md.""",
        epilog="""examples:
  trifed site start site.yaml                                  in the background
  trifed site start site.yaml --service-only --foreground      as the user who may read the data
  trifed site start site.yaml --courier-only --foreground      as the user who has the network
  trifed site stop site.yaml""",
    )
    add_site(start)
    parts = start.add_mutually_exclusive_group()
    parts.add_argument("--service-only", action="store_true", help="only what holds the data")
    parts.add_argument(
        "--courier-only",
        action="store_true",
        help="only what has the network; the site file need not be readable",
    )
    start.add_argument("--foreground", action="store_true", help="stay; Ctrl-C stops")
    start.set_defaults(run=run_start)


def add_stop(actions: Any) -> None:
    """`trifed site stop`."""
    stop = actions.add_parser(
        "stop",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="end this site's processes; start goes on",
        description="End this site's part of a study. What was answered is kept.",
        epilog="example:\n  trifed site stop site.yaml",
    )
    add_site(stop)
    stop.set_defaults(run=run_stop)


def add_site(parser: argparse.ArgumentParser) -> None:
    """The site file."""
    parser.add_argument("site_file", type=Path, metavar="SITE.yaml", help="the site file")


def run_start(options: argparse.Namespace) -> int:
    """Start in the background, or stay.

    Raises:
        ApprovalError: If the study is not approved here; the courier alone may run all the same.
    """
    from client.approvals.approvals import refuse_unapproved
    from client.deploy.place import open_place
    from client.deploy.start import Part, start
    from shared.background import begin
    from shared.config import load_study

    place = open_place(options.site_file)
    part: Part = "service" if options.service_only else "courier" if options.courier_only else "all"
    if part != "courier":
        refuse_unapproved(place.site_file, load_study(place.joined.study_file))
    if options.foreground:
        start(place, part)
        return 0
    lock = place.courier_lock if part == "courier" else place.service_lock
    folder = place.logs if part == "courier" else place.service_logs
    only = () if part == "all" else (f"--{part}-only",)
    begin(
        ("site", "start", str(place.site_file), "--foreground", *only),
        lock=lock,
        ready=None,
        log=folder / "supervisor.log",
    )
    print(f"{place.site_file}: running; it calls {place.address}, and nothing calls it")
    print(f"  end it:  trifed site stop {place.site_file}")
    print(f"  logs:    {folder}")
    return 0


def run_stop(options: argparse.Namespace) -> int:
    """End the processes."""
    from client.deploy.place import open_place
    from client.deploy.start import stop

    place = open_place(options.site_file)
    print(f"{place.site_file}: {'stopped' if stop(place) else 'was not running'}")
    return 0
