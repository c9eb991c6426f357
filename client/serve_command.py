"""The command line of the site service: `trifed site serve`."""

import argparse
from pathlib import Path
from typing import Any

LOG = "service.log"


def add_serve(actions: Any) -> None:
    """`trifed site serve`."""
    serve = actions.add_parser(
        "serve",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="answer a study's questions inside the hospital until stopped",
        description="""Open this hospital with the study that it joined, and answer the study's
questions until stopped (Ctrl-C or SIGTERM). This process alone opens patients' files. It listens
to a socket of this machine and to no network; the courier of 'trifed site start' brings the
questions. What may leave is decided by policy.yaml beside the site file.

Answers are kept in the cache folder before they leave: after a crash, start it again, and what was
answered is not worked on again. A run of which ten questions were refused is answered no more until
a person says so: trifed site unlock. The log (federation/service.log beside the site file) may
name patients and stays in the hospital.""",
        epilog="""examples:
  trifed site serve site.yaml
  trifed site serve site.yaml --study my.yaml --socket /run/trifed/service.sock""",
    )
    serve.add_argument("site_file", type=Path, metavar="SITE.yaml", help="the site file")
    serve.add_argument(
        "--study",
        type=Path,
        help="the study file (default: federation/study.yaml beside the site file)",
    )
    serve.add_argument(
        "--socket",
        type=Path,
        metavar="PATH",
        help="where to listen (default: what federation/federation.yaml says, else service.sock "
        "in that folder)",
    )
    serve.add_argument(
        "--threads",
        type=int,
        help="cores to use; 0: all (default: device.threads of the site file)",
    )
    serve.set_defaults(run=run_serve)


def run_serve(options: argparse.Namespace) -> int:
    """Serve until stopped.

    Raises:
        ConfigError: If there is no study file; and see `client.serve.serve`.
    """
    from shared.supervision import end_if_supervised

    end_if_supervised()
    from client.joining.folder import folder_beside
    from client.joining.settings import SOCKET
    from client.serve import logged_to, serve
    from shared.config import load_study
    from shared.errors import ConfigError

    folder = folder_beside(options.site_file.resolve())
    study_file = options.study or folder.study_file
    if options.study is None and not study_file.exists():
        raise ConfigError(
            f"{study_file}: there is no such file. Join the study first (trifed site join), or "
            "name the study file with --study."
        )
    study = load_study(study_file)
    named = folder.socket_file() if folder.is_joined else folder.path / SOCKET
    with logged_to(folder.path / LOG):
        serve(
            options.site_file,
            study,
            options.socket or named,
            to=folder.server_in_words() if folder.is_joined else "",
            run=folder.settings().run if folder.is_joined else None,
            server_key=folder.settings().server_key if folder.is_joined else "",
            threads=options.threads,
            guest=folder.evaluates_only,
        )
    return 0
