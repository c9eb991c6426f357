"""The command line of the leak audit: `trifed site leak-audit`."""

import argparse
from pathlib import Path
from typing import Any


def add_leak_audit(actions: Any) -> None:
    """`trifed site leak-audit`."""
    audit = actions.add_parser(
        "leak-audit",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="attack what a run released of this hospital's patients",
        description="""Take what a run released, by the release ledger and the answers that are kept
in the cache folder, and attack it with this hospital's own patients: can a patient be found again
in it (linkage), can values be computed from it (reconstruction), is it told who took part
(membership)? Each number stands beside that of chance, with an interval and a verdict.

Audit a run before its answers are deleted: of the last five runs they are kept for 90 days. The
patients' tables are read; nothing is sent.""",
        epilog="""examples:
  trifed site leak-audit site.yaml 1f3a90c2
  trifed site leak-audit site.yaml 1f3a90c2 --study my.yaml --html audit.html
  trifed site leak-audit site.yaml 1f3a90c2 --json""",
    )
    audit.add_argument("site_file", type=Path, metavar="SITE.yaml", help="the site file")
    audit.add_argument("of_run", metavar="RUN", help="the run, or its first letters")
    audit.add_argument(
        "--study",
        type=Path,
        help="the run's study file (default: federation/study.yaml beside the site file)",
    )
    audit.add_argument("--html", type=Path, metavar="FILE", help="write a page that can be printed")
    audit.add_argument("--json", action="store_true", help="print JSON instead of text")
    audit.add_argument("--threads", type=int, help="cores to use (default: the site file's)")
    audit.set_defaults(run=run_leak_audit)


def run_leak_audit(options: argparse.Namespace) -> int:
    """Audit, and print what was found, or write it.

    Raises:
        AuditError: If nothing was released or is kept, or the study is not the run's.
        LedgerError: If the ledger is not whole, or knows no such run.
    """
    from client.audit.audit import audit_run
    from client.audit.words import as_json, lines, write_page
    from client.joining.folder import folder_beside

    study = options.study or folder_beside(options.site_file.resolve()).study_file
    found = audit_run(options.site_file, study, options.of_run, threads=options.threads)
    if options.html:
        write_page(found, options.html)
        print(f"{options.html}: written; no patient's value stands in it")
    if options.json:
        print(as_json(found))
    elif not options.html:
        print("\n".join(lines(found)))
    return 0
