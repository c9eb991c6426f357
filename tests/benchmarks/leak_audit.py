"""What each way to fit the fusion layer leaks, and how well the layer does: one table.

On made-up hospitals a study is run for each `fusion.exchange` that there is and each seed; then
each training site audits its run as `trifed site leak-audit` does. A line says how often a
patient's row is found (top-1) against chance, the R squared of the value that is told best, the AUC
of membership by what was released for the layer and by the pooled weights, and the AUC of the
fusion layer.

Ends with status 1 if with `statistics` a patient is found more than five times as often as chance,
or if the mean AUC is more than .01 below that of `embeddings`.

    python -m tests.benchmarks.leak_audit --preset easy --seeds 5
"""

import argparse
import csv
import math
import statistics
import sys
from pathlib import Path
from typing import Any

import trifed
from client.audit.audit import Audit, audit_run
from client.audit.findings import MOST_TIMES_CHANCE, Finding
from client.settings import load_site_settings
from tests.benchmarks.presets import EXCHANGES, parser_of, run_folder, run_study

WITHIN = 0.01
COLUMNS = (
    "seed", "exchange", "site", "n", "link", "chance", "r_squared", "r_squared_by_chance",
    "membership", "membership_by_weights", "auc", "external_auc",
)  # fmt: skip
SHOWN = COLUMNS[4:]


def value_of(found: Audit, attack: str, *, weights: bool = False) -> Finding | None:
    """The finding of an attack on the rows or sums of the layer, or on the weights."""
    chosen = [
        each
        for each in found.findings
        if each.attack == attack
        and each.release.startswith("weights") == weights
        and each.value is not None
    ]
    return max(chosen, key=lambda each: each.value or 0.0, default=None)


def seed_rows(options: argparse.Namespace, seed: int) -> list[dict[str, Any]]:
    """Of one seed: each exchange at each training site."""
    rows = []
    for exchange in options.exchange:
        out = run_folder(options, seed, options.fit_on, exchange)
        first = run_folder(options, seed, options.fit_on, options.exchange[0])
        results, _ = run_study(options, seed, options.fit_on, exchange)
        measured = results["models"]["fusion"]
        run = (out / "run.id").read_text()
        for site_file in sorted((first / "cohort").glob("*/site.yaml")):
            settings = load_site_settings(site_file)
            if settings.role != "training":
                continue
            found = audit_run(site_file, out / "study.yaml", run, threads=options.threads)
            link = value_of(found, "linkage")
            told = value_of(found, "reconstruction")
            member = value_of(found, "membership")
            loss = value_of(found, "membership", weights=True)
            values = (
                link and link.n, link and link.value, link and link.chance,
                told and told.value, told and told.chance, member and member.value,
                loss and loss.value, measured["internal_test"]["auc"],
                measured["external_test"]["auc"],
            )  # fmt: skip
            rows.append(dict(zip(COLUMNS, (seed, exchange, settings.name, *values), strict=True)))
    return rows


def mean_of(rows: list[dict[str, Any]], exchange: str, column: str) -> tuple[float, float]:
    """Mean and standard error over seeds and sites; NaN where nothing was measured."""
    values = [
        row[column] for row in rows if row["exchange"] == exchange and row[column] is not None
    ]
    if not values:
        return math.nan, math.nan
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return statistics.mean(values), error


def judged(rows: list[dict[str, Any]]) -> list[str]:
    """What is not as it must be."""
    known = {row["exchange"] for row in rows}
    wrong = []
    if "statistics" in known:
        link, chance = (mean_of(rows, "statistics", column)[0] for column in ("link", "chance"))
        if not link <= MOST_TIMES_CHANCE * chance:
            wrong.append(f"statistics: found {link:.3f}, and chance is {chance:.3f}")
    if {"statistics", "embeddings"} <= known:
        ours, theirs = (mean_of(rows, name, "auc")[0] for name in ("statistics", "embeddings"))
        if not ours >= theirs - WITHIN:
            wrong.append(f"statistics: AUC {ours:.3f}, and with embeddings {theirs:.3f}")
    return wrong


def main() -> int:
    """Run the seeds, print the table, and say whether all is as it must be."""
    parser = parser_of(__doc__, "")
    parser.set_defaults(preset="easy", seeds=5, branches="none", reduce="pca")
    parser.add_argument("--exchange", nargs="+", choices=EXCHANGES, default=list(EXCHANGES))
    parser.add_argument(
        "--fit-on", choices=("tune", "out_of_fold", "in_sample"), default="in_sample",
        help="on whose scores the layer is fitted; in_sample has patients of the test split to "
        "tell members from, and most rows",
    )  # fmt: skip
    options = parser.parse_args()
    trifed.set_up_logging(verbose=False)
    trifed.logging.getLogger("trifed").setLevel("WARNING")
    rows: list[dict[str, Any]] = []
    table: Path = options.csv or options.folder / "leak_audit.csv"
    for seed in range(options.first, options.first + options.seeds):
        rows += seed_rows(options, seed)
        print(f"seed {seed}: audited", flush=True)
        with table.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    print(f"\n{'exchange':<16}" + "".join(f"{name:>22}" for name in SHOWN))
    for exchange in options.exchange:
        cells = (mean_of(rows, exchange, name) for name in SHOWN)
        print(f"{exchange:<16}" + "".join(f"{f'{m:.3f} ({e:.3f})':>22}" for m, e in cells))
    wrong = judged(rows)
    print("\n".join(["", *wrong, str(table)]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
