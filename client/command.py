"""The command line of an external hospital: `trifed evaluate`."""

import argparse
from pathlib import Path
from typing import Any


def add_evaluate(commands: Any) -> None:
    """`trifed evaluate`."""
    from client.cli import hash_or_beginning

    evaluate = commands.add_parser(
        "evaluate",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="test a bundle on this hospital's patients, without a network",
        description="""Score every patient of this hospital with the frozen models of a bundle's
file, and write what release.external of the site file lets leave: a summary (the default), binned
counts of scores, or scores and labels without ids. The numbers are those that the same hospital
gives a server. Nothing is sent; read the file, then hand it on or not.

Each bundle is shown to a cohort once: looks.json beside the site file keeps the answer, and asking
again gives the same file. It counts how often the patients were looked at, since a model that was
chosen by external numbers is not tested by them.""",
        epilog="""examples:
  trifed evaluate her2.bundle --site site.yaml
  trifed evaluate her2.bundle --site site.yaml --hash 3f9ac21b --out result.json""",
    )
    evaluate.add_argument("bundle", type=Path, metavar="BUNDLE", help="the bundle's file")
    evaluate.add_argument(
        "--site", type=Path, required=True, metavar="SITE.yaml", help="a site file, role: external"
    )
    evaluate.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="the result's file (default: result-HASH.json beside the site file)",
    )
    evaluate.add_argument(
        "--hash",
        type=hash_or_beginning,
        help="the bundle's hash as its maker told it, or its first eight or more digits; a file "
        "with another is refused",
    )
    evaluate.add_argument("--threads", type=int, help="cores to use (default: the site file's)")
    evaluate.set_defaults(run=run_evaluate)


def run_evaluate(options: argparse.Namespace) -> int:
    """Evaluate, write the result and print it."""
    from rich.console import Console

    from client.evaluate import evaluate_file
    from client.evaluate_report import evaluation_lines
    from client.progress import shown_progress
    from shared.external_result import write_result

    with shown_progress(Console(stderr=True)) as progress:
        found = evaluate_file(
            options.bundle,
            options.site,
            bundle_hash=(options.hash or "").lower(),
            threads=options.threads,
            progress=progress,
        )
    result = found.result
    out = options.out or options.site.parent / f"result-{result.bundle_hash[:12]}.json"
    write_result(out, result)
    for line in evaluation_lines(found):
        print(line)
    print(f"{out}: written at the level {result.reply.level}; nothing was sent")
    return 0
