"""The command line of approvals: `trifed site approve`, `approvals` and `withdraw`."""

import argparse
from pathlib import Path
from typing import Any

LETTERS = 8


def add_approvals(actions: Any) -> None:
    """The three commands."""
    _add_approve(actions)
    approvals = actions.add_parser(
        "approvals",
        help="which studies were approved here, by whom and when",
        epilog="example:\n  trifed site approvals site.yaml",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    approvals.add_argument("site_file", type=Path, metavar="SITE.yaml", help="the site file")
    approvals.set_defaults(run=run_approvals)
    withdraw = actions.add_parser(
        "withdraw",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="approve a study no longer",
        description="""Withdraw a study's approval: from the next question on the site service
answers nothing of it, also if it is at work. What has left stays where it is.""",
        epilog="example:\n  trifed site withdraw site.yaml 3f9ac21b",
    )
    withdraw.add_argument("site_file", type=Path, metavar="SITE.yaml", help="the site file")
    withdraw.add_argument("hash", metavar="HASH", help="the study's hash, or its first letters")
    withdraw.set_defaults(run=run_withdraw)


def _add_approve(actions: Any) -> None:
    from client.cli import hash_or_beginning
    from client.forecast.command import add_study

    approve = actions.add_parser(
        "approve",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="let this hospital take part in a study, by its hash",
        description="""Show who signed a study, what it is and what it would let leave, and write
down that a person approves it. A hospital of real patients answers no question of a study that was
not approved, or was withdrawn. Whatever is changed in a study changes its hash, and must be
approved anew. A line is shown for each answer; 'trifed site what-would-leave' tells all of it.

The first eight letters of the hash are asked for, so that nobody approves by mistake what was not
read; scripts give them by --hash. Who approved, and when, is kept in approvals.jsonl beside the
site file. Nothing is sent.""",
        epilog="""examples:
  trifed site approve site.yaml federation/study.yaml
  trifed site approve site.yaml site_a.trifed-invitation
  trifed site approve site.yaml her2.bundle --hash 3f9ac21b""",
    )
    add_study(approve)
    approve.add_argument(
        "--hash",
        type=hash_or_beginning,
        help="the study's hash, or its first eight or more letters, instead of typing them",
    )
    approve.set_defaults(run=run_approve)


def run_approve(options: argparse.Namespace) -> int:
    """Show the study, and approve it if the hash is given.

    Raises:
        ApprovalError: If another hash is given, or none.
    """
    from client.approvals.approvals import Approvals
    from client.approvals.shown import shown_lines
    from client.joining.offered import read_offered
    from client.person import user_name
    from shared.errors import ApprovalError

    offered = read_offered(options.study)
    approvals = Approvals(options.site_file.resolve().parent)
    if approvals.are_for(offered.study_hash):
        print(f"{approvals.path}: the study {offered.study_hash[:16]} is approved already")
        return 0
    for line in shown_lines(offered, options.site_file):
        print(line)
    typed = (options.hash or _typed(offered.study_hash)).strip().lower()
    if len(typed) < LETTERS or not offered.study_hash.startswith(typed):
        raise ApprovalError(
            f"'{typed[:64]}' is not the beginning of the study's hash {offered.study_hash[:16]}; "
            "nothing was approved."
        )
    added = approvals.add("approved", offered.study_hash, title=offered.study.title, by=user_name())
    print(f"{approvals.path}: approved by {added.by}; take it back with")
    print(f"  trifed site withdraw {options.site_file} {offered.study_hash[:LETTERS]}")
    return 0


def _typed(study_hash: str) -> str:
    """What a person types.

    Raises:
        ApprovalError: If nobody is there to type.
    """
    import sys

    from shared.errors import ApprovalError

    if not sys.stdin.isatty():
        raise ApprovalError(
            f"nobody is there to type the hash; nothing was approved. Give --hash "
            f"{study_hash[:LETTERS]} if what is shown above may leave."
        )
    return input(f"To approve it, type the first {LETTERS} letters of the study's hash: ")


def run_approvals(options: argparse.Namespace) -> int:
    """List them."""
    from client.approvals.approvals import Approvals, approval_lines

    for line in approval_lines(Approvals(options.site_file.resolve().parent).lines()):
        print(line)
    return 0


def run_withdraw(options: argparse.Namespace) -> int:
    """Withdraw one.

    Raises:
        ApprovalError: If it is not approved.
    """
    from client.approvals.approvals import Approvals
    from client.person import user_name
    from shared.errors import ApprovalError

    approvals = Approvals(options.site_file.resolve().parent)
    found = approvals.one(options.hash)
    if found.what != "approved":
        raise ApprovalError(f"the study {found.study[:16]} was withdrawn already, {found.at[:10]}")
    line = approvals.add("withdrawn", found.study, title=found.title, by=user_name())
    print(f"{approvals.path}: the study {line.study[:16]} is withdrawn by {line.by}")
    print("Nothing more of it is answered. What has left cannot be called back.")
    return 0
