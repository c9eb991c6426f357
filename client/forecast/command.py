"""The command line of the dry run: `trifed site what-would-leave`."""

import argparse
from pathlib import Path
from typing import Any


def add_what_would_leave(actions: Any) -> None:
    """`trifed site what-would-leave`."""
    leave = actions.add_parser(
        "what-would-leave",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="a dry run: what a study would let leave this hospital",
        description="""List every answer that a study will ask of this site's role, in the study's
order: what it holds (names, types and shapes of arrays, and other fields), of whom, how often, how
many bytes at most, the smallest number of patients that it is checked by, epsilon if it has one,
and what the site file refuses. It comes from the code that gives the answers: each is made of
made-up numbers and looked at. No patient's file is opened, and nothing is sent.""",
        epilog="""examples:
  trifed site what-would-leave site.yaml configs/her2_blca.yaml
  trifed site what-would-leave site.yaml site_a.trifed-invitation --html leaves.html
  trifed site what-would-leave site.yaml federation/study.yaml --json""",
    )
    add_study(leave)
    leave.add_argument("--html", type=Path, metavar="FILE", help="write a page that can be printed")
    leave.add_argument("--json", action="store_true", help="print JSON instead of text")
    leave.set_defaults(run=run_what_would_leave)


def add_study(parser: argparse.ArgumentParser) -> None:
    """The site file, and a study by its file, an invitation to it, or its bundle."""
    parser.add_argument("site_file", type=Path, metavar="SITE.yaml", help="the site file")
    parser.add_argument(
        "study",
        type=Path,
        metavar="STUDY",
        help="the study file, its invitation or bundle",
    )


def run_what_would_leave(options: argparse.Namespace) -> int:
    """Print what would leave, or write it."""
    from client.forecast.forecast import forecast
    from client.forecast.words import as_json, long_lines, write_page
    from client.joining.offered import read_offered

    found = forecast(read_offered(options.study).study, options.site_file)
    if options.html:
        write_page(found, options.html)
        print(f"{options.html}: written; nothing of a patient stands in it")
    if options.json:
        print(as_json(found))
    elif not options.html:
        print("\n".join(long_lines(found)))
    return 0
