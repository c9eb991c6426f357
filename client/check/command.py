"""The command line of a hospital that asks whether it is ready: `trifed site check`."""

import argparse
from pathlib import Path
from typing import Any


def add_check(actions: Any) -> None:
    """`trifed site check`."""
    from client.cli import add_site_arguments, hash_or_beginning

    check = actions.add_parser(
        "check",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="is this hospital ready to take part?",
        description="""Open every file that training will open, the way training does, and say for
each patient whether it can take part, why not, and what to do. Nothing is sent; with
--network, the server is asked for its /health and nothing else.
Exit code 0 if the site is ready, else 1.""",
        epilog="""examples:
  trifed site check site.yaml --study configs/her2_blca.yaml
  trifed site check site.yaml --study my.yaml --html
  trifed site check site.yaml --study federation/study.yaml --network""",
    )
    add_site_arguments(check)
    check.add_argument(
        "--html",
        type=Path,
        nargs="?",
        const=Path(),
        metavar="FILE",
        help="also write a page of all findings (default: check.html beside the site file)",
    )
    check.add_argument(
        "--study-hash",
        type=hash_or_beginning,
        metavar="HASH",
        help="the study's hash as the coordinator told it, or its first eight or more digits; "
        "a study file with another hash is not the study's",
    )
    check.add_argument(
        "--network",
        action="store_true",
        help="also try the way to the server of the study that this site joined: name, port, "
        "proxy, TLS and clock",
    )
    check.set_defaults(run=run_site_check)


def run_site_check(options: argparse.Namespace) -> int:
    """Print the verdict on every patient."""
    from rich.console import Console

    from client.check.doctor import check_site
    from client.check.page import write_page
    from client.check.report import print_report
    from client.joining.folder import folder_beside, joined_beside
    from client.progress import shown_progress
    from shared.config import load_study

    study = load_study(options.study)
    if options.network:
        joined_beside(options.site_file)
    with shown_progress(Console(stderr=True)) as progress:
        report = check_site(
            options.site_file,
            study,
            threads=options.threads,
            progress=progress,
            study_hash=options.study_hash or "",
            guest=folder_beside(options.site_file.resolve()).evaluates_only,
        )
    print_report(report, Console())
    if options.html is not None:
        page = options.html if options.html.name else options.site_file.parent / "check.html"
        write_page(report, page)
        print(f"{page}: written; it holds patients' ids and stays in the hospital")
    reached = not options.network or tell_path(options.site_file)
    return 0 if report.ready and reached else 1


def tell_path(site_file: Path) -> bool:
    """Print each step of the way to the server; whether it leads there."""
    from client.joining.folder import joined_beside
    from client.joining.path_check import check_path

    folder = joined_beside(site_file)
    findings = check_path(folder.settings(), folder.authority())
    print("the way to the server:")
    for finding in findings:
        print(f"  {'ok ' if finding.fine else 'BAD'}  {finding.text}")
    return all(finding.fine for finding in findings)
