"""The command line of the appendix: `trifed site dpia`."""

import argparse
from pathlib import Path
from typing import Any


def add_dpia(actions: Any) -> None:
    """`trifed site dpia`."""
    from client.forecast.command import add_study

    dpia = actions.add_parser(
        "dpia",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="an appendix for the data protection impact assessment of a study",
        description="""Write a page for whoever assesses a study: what it is and asks, which data
it uses, who is told, every answer that would leave, the policy with its exceptions, approvals,
what has left so far by the release ledger, what protects patients, what remains at risk, and a
list of what only the hospital can say. All of it is read from the study, the policy, the
approvals and the ledger. No patient's file is opened, and nothing is sent.""",
        epilog="""examples:
  trifed site dpia site.yaml site_a.trifed-invitation
  trifed site dpia site.yaml federation/study.yaml --out appendix.html""",
    )
    add_study(dpia)
    dpia.add_argument(
        "--out", type=Path, default=Path("dpia.html"), help="the page (default: dpia.html)"
    )
    dpia.set_defaults(run=run_dpia)


def run_dpia(options: argparse.Namespace) -> int:
    """Write the page."""
    from client.assessment.appendix import appendix
    from client.assessment.page import write_page
    from client.joining.offered import read_offered

    found = appendix(options.site_file, read_offered(options.study))
    write_page(found, options.out)
    print(f"{options.out}: written; {len(found.blanks)} points are for the hospital to fill in")
    return 0
