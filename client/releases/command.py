"""The command line of the release ledger: `trifed site ledger` and `unlock`."""

import argparse
from pathlib import Path
from typing import Any


def add_ledger(actions: Any) -> None:
    """`trifed site ledger`."""
    ledger = actions.add_parser(
        "ledger",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="what left this hospital, and whether the record of it is whole",
        description="""release-ledger.jsonl beside the site file has a row for each answer that left
this hospital and for each question that was refused. A row is on disk before its answer leaves:
when, to whom, what was asked, the names, types and shapes of the arrays, how many bytes, the
smallest number of patients that a checked number of it is of, the SHA-256 of the very bytes, and
the SHA-256 of the policy and of the approval under which it left.
Each row holds the hash of the one before, so that a row that was changed, removed, added or swapped
is named.

  show     each row, newest last, and how much left by each question
  verify   is the ledger whole? does it still hold each row that the server countersigned, and
           with --anchor one that somebody else knows of?
  head     number and hash of the last row: send it to whoever shall be able to hold you to it
  anchor   the last row that the server countersigned, as one line to be printed or mailed
  export   all rows as a CSV table""",
        epilog="""examples:
  trifed site ledger show site.yaml --last 20
  trifed site ledger head site.yaml            keep it elsewhere, for instance after each run
  trifed site ledger verify site.yaml --anchor 118:5f0c...
  trifed site ledger anchor site.yaml | mail -s "ledger of site_a" officer@example.org
  trifed site ledger export site.yaml --out what-left.csv""",
    )
    ways = ledger.add_subparsers(title="commands", required=True, metavar="COMMAND")
    helps = {
        "show": "the rows",
        "verify": "is it whole?",
        "head": "the last row's number and hash",
        "anchor": "the last row that the server countersigned",
        "export": "the rows as CSV",
    }
    parsers = {way: ways.add_parser(way, help=text) for way, text in helps.items()}
    for way, parser in parsers.items():
        parser.add_argument("site_file", type=Path, metavar="SITE.yaml", help="the site file")
        parser.set_defaults(run=run_ledger, way=way)
    parsers["show"].add_argument("--last", type=int, metavar="N", help="only the last N rows")
    parsers["show"].add_argument("--run", dest="of_run", metavar="RUN", help="only this run's")
    parsers["verify"].add_argument(
        "--anchor", metavar="ANCHOR", help="what 'head' or 'anchor' printed, kept elsewhere"
    )
    parsers["export"].add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the CSV file to write"
    )


def run_ledger(options: argparse.Namespace) -> int:
    """Do what was asked with the ledger.

    Raises:
        LedgerError: If the ledger is not whole.
    """
    from client.policy.load import policy_hash
    from client.releases.anchor import anchor_of, countersigned_lines, read_anchor
    from client.releases.heads import HeadBook, check_countersigned
    from client.releases.ledger import ReleaseLedger, clock_turns, head_of
    from client.releases.table import as_csv, policy_lines, row_lines, summary_lines
    from client.settings import load_site_settings
    from shared.files import write_atomically

    settings = load_site_settings(options.site_file)
    folder = options.site_file.parent
    ledger = ReleaseLedger(folder, folder / settings.cache)
    rows, book = ledger.rows(), HeadBook(folder, settings.name)
    if options.way == "show":
        rows = [row for row in rows if row.run.startswith(options.of_run or "")]
        for row in rows[-options.last :] if options.last else rows:
            print("\n".join(row_lines(row)))
        print("\n".join(["", *summary_lines(rows)] if rows else summary_lines(rows)))
    elif options.way == "head":
        print(head_of(rows))
    elif options.way == "anchor":
        print(anchor_of(book))
    elif options.way == "export":
        write_atomically(options.out, as_csv(rows).encode())
        print(f"{options.out}: {len(rows)} rows")
    else:
        if options.anchor:
            ledger.check(read_anchor(options.anchor, settings.name))
        check_countersigned(rows, book.own(), ledger.path)
        print(f"{ledger.path}: whole, {len(rows)} rows; the head is {head_of(rows)}")
        print("\n".join(policy_lines(rows, policy_hash(options.site_file))))
        for number in clock_turns(rows):
            print(f"row {number}: the clock was set back before it; the order is the rows'")
        print("\n".join(countersigned_lines(rows, book.own())))
        if not options.anchor:
            print("Rows removed from its end with all that is beside it need an anchor: --anchor.")
    return 0


def add_unlock(actions: Any) -> None:
    """`trifed site unlock`."""
    unlock = actions.add_parser(
        "unlock",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="answer a run again of which too much was refused",
        description="""After ten refusals the site answers nothing more of a run: whoever asks for
what may not leave learns something from each refusal. 'trifed site ledger show' says what was asked
and why it was refused, and the log (federation/service.log) in which words. When that is explained,
this lets the run go on and counts anew. Who did so, and when, is a row of the ledger.""",
        epilog="""examples:
  trifed site ledger show site.yaml --run 1f3a90c2
  trifed site unlock site.yaml 1f3a90c2""",
    )
    unlock.add_argument("site_file", type=Path, metavar="SITE.yaml", help="the site file")
    unlock.add_argument("of_run", metavar="RUN", help="the run, or its first letters")
    unlock.set_defaults(run=run_unlock)


def run_unlock(options: argparse.Namespace) -> int:
    """Write the row.

    Raises:
        LedgerError: If the ledger is not whole, or knows no such run.
    """
    from client.person import user_name
    from client.releases.ledger import ReleaseLedger, ledger_of
    from client.releases.lock import run_in
    from client.settings import load_site_settings

    settings = load_site_settings(options.site_file)
    folder = options.site_file.parent
    ledger = ReleaseLedger(folder, folder / settings.cache)
    run, study = run_in(ledger.rows(), options.of_run)
    row = ledger_of(options.site_file, study).unlock(run=run, by=user_name())
    print(f"run {run}: unlocked by {row.to} (row {row.number} of {ledger.path}); the site answers")
    return 0
