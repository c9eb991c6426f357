"""How well each model does on a preset of made-up patients, over several seeds.

On `null` nothing is to be learnt: every AUC on a test split must be about .5 (the mean over seeds
within two standard errors), or labels reach where they must not. On `easy` all must be learnt.

With `--branches none` the smallest network that a study can have is trained for one round. With
`--fit-on` the same hospitals are run once for each way to fit the fusion layer; the line `held out`
is its AUC on the cases that it was fitted on, each left out in turn. On `null` that is .5 where no
part has seen these cases, and far above where the parts were fitted on them. With `--exchange`
they are run once for each way in which the sites let the layer be fitted.
"""

import argparse
import csv
import itertools
import json
import math
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import trifed
from server.progress import LoggedProgress
from shared.config import Study
from shared.fusion_settings import Fusion
from shared.strict_yaml import parse_settings
from simulation.simulate import prepare_run, run_in_process

STUDY = """
version: 1
name: preset
title: A preset over several seeds
seed: 1
sites: {{training: [site_a, site_b, site_c], external: [site_d]}}
endpoint: {{name: HER2, column: her2_ihc, negative: ["0", "1+"], positive: ["2+", "3+"]}}
phases: [corticomedullary, nephrographic, excretory]
cohort: {{min_roi_voxels: 8}}
radiomics: {{spacing_mm: [3.0, 2.0, 2.0]}}
clinical: {{predictors: [sessile, hydronephrosis, pelvic_pain, node_positive]}}
branches:
{branches}
embedding: {embedding}
fusion:
  {{exchange: {exchange}, fit_on: {fit_on}, outer_folds: 3, accept_in_sample: {in_sample},
    budget: report{penalties}}}
phantom:
  preset: "{preset}"
  size: {size}
  sites:
    site_a: {{n_cases: {cases}, scanner: a}}
    site_b: {{n_cases: {cases}, scanner: b}}
    site_c: {{n_cases: {cases}, scanner: c}}
    site_d: {{n_cases: {cases}, scanner: d}}
"""
NONE = """
  - {name: branch_2_5d, kind: 2.5d, network: resnet10, size: [16, 16], spacing_mm: [4.0, 4.0],
     training: {rounds: 1}}
"""
SMALL = """
  - {name: branch_2_5d, kind: 2.5d, network: resnet10, size: [32, 32], spacing_mm: [2.0, 2.0],
     training: {rounds: 4, local_epochs: 2}}
  - {name: branch_3d, kind: 3d, network: resnet10, size: [8, 16, 16], spacing_mm: [4.0, 4.0, 4.0],
     training: {rounds: 3}}
"""
REAL = """
  - {name: branch_2_5d, kind: 2.5d, network: resnet50, size: [64, 64],
     training: {rounds: 8, local_epochs: 2}}
  - {name: branch_3d, kind: 3d, network: resnet50, size: [12, 32, 32], spacing_mm: [3.0, 2.0, 2.0],
     training: {rounds: 5, local_epochs: 2}}
"""
BRANCHES = {"none": NONE, "small": SMALL, "real": REAL}
EXCHANGES: tuple[str, ...] = get_args(Fusion.model_fields["exchange"].annotation)
"""Every way in which a fusion layer is fitted."""
SPLITS = ("internal_test", "external_test")
EMBEDDING = {"logit": "{reduce: logit, dimension: 1}", "pca": "{reduce: pca, dimension: 2}"}
POOLED = "{reduce: pooled, dimension: 2}"
"""In the place of pca where rows have noise, since its sums would leave without."""
EXAMPLES = """examples:
  python tests/benchmarks/presets.py --preset null --seeds 20
  python tests/benchmarks/presets.py --preset null --seeds 10 --fit-on out_of_fold in_sample
  python tests/benchmarks/presets.py --preset paper --seeds 5 --reduce pca \\
      --exchange embeddings scores statistics
  python tests/benchmarks/presets.py --preset easy --seeds 3 --size small --branches real"""
PARTS = ("fit_on", "exchange", "model", "split")
COLUMNS = ("preset", "seed", *PARTS, "n", "auc", "low", "high", "seconds")


def name_of(options: argparse.Namespace, seed: int) -> str:
    """What the folders of one seed's runs begin with."""
    name = f"{options.preset}-{options.size}-{options.cases}-{options.branches}-{seed}"
    return f"{name}-{options.reduce}"


def run_folder(
    options: argparse.Namespace, seed: int, fit_on: str, exchange: str, leak: str = ""
) -> Path:
    """Where a run is."""
    parts = (name_of(options, seed), fit_on, exchange, leak)
    folder: Path = options.folder / "-".join(filter(None, parts))
    return folder


def run_study(
    options: argparse.Namespace, seed: int, fit_on: str, exchange: str, leak: str = ""
) -> tuple[dict[str, Any], float]:
    """One study's results and the seconds that it took; a run that was cut off goes on.

    All ways of one seed share the hospitals of the first that was run. `leak` names a run that
    something was done to, and so its folder.
    """
    has_noise = exchange.endswith("+dp")
    pooled = exchange == "embeddings+dp" and options.reduce == "pca"
    text = STUDY.format(
        preset=options.preset,
        size=options.size,
        cases=options.cases,
        branches=BRANCHES[options.branches],
        embedding=POOLED if pooled else EMBEDDING[options.reduce],
        exchange=exchange,
        penalties=", penalties: [3.0]" if has_noise else "",
        fit_on=fit_on,
        in_sample=str(fit_on == "in_sample").lower(),
    )
    parse_settings(text, Study, name="study.yaml")
    options.folder.mkdir(parents=True, exist_ok=True)
    out = run_folder(options, seed, fit_on, exchange, leak)
    study_file = out.with_suffix(".yaml")
    study_file.write_text(text)
    found = next(
        iter(sorted(out.parent.glob(f"{name_of(options, seed)}-*/cohort/cohort.json"))), None
    )
    made = out if found is None else found.parents[1]
    began = time.perf_counter()
    job = prepare_run(
        study_file,
        out,
        site_files=[] if out == made else sorted((made / "cohort").glob("*/site.yaml")),
        seed=seed,
        threads=options.threads,
        resume=True,
        progress=LoggedProgress(),
    )
    run_in_process(job, LoggedProgress())
    seconds = round(time.perf_counter() - began, 1)
    return json.loads((out / "results.json").read_text()), seconds


def run_seed(
    options: argparse.Namespace, seed: int, fit_on: str, exchange: str
) -> Iterator[dict[str, Any]]:
    """One seed's AUC of each model on each test split."""
    results, seconds = run_study(options, seed, fit_on, exchange)
    for model, splits in results["models"].items():
        for split in SPLITS:
            measured = splits[split]
            low, high = measured["auc_ci"] or (None, None)
            values = (measured["n"], measured["auc"], low, high, seconds)
            about = (options.preset, seed, fit_on, exchange, model, split)
            yield dict(zip(COLUMNS, (*about, *values), strict=True))
    fusion = results["fusion"]
    low, high = fusion["held_out_auc_ci"] or (None, None)
    values = (fusion["n_cases"], fusion["held_out_auc"], low, high, seconds)
    about = (options.preset, seed, fit_on, exchange, "fusion", "held out")
    yield dict(zip(COLUMNS, (*about, *values), strict=True))


def print_seed(rows: list[dict[str, Any]]) -> None:
    """One line for a seed: internal and external AUC of each model."""
    models = dict.fromkeys(row["model"] for row in rows)
    shown = []
    for model in models:
        values = [row["auc"] for row in rows if row["model"] == model]
        shown.append(f"{model} " + "/".join("  –  " if v is None else f"{v:.3f}" for v in values))
    first = rows[0]
    about = f"seed {first['seed']:>3} {first['fit_on']}, {first['exchange']}"
    print(f"{about} ({first['seconds']:.0f} s)  " + "  ".join(shown), flush=True)


def print_means(rows: list[dict[str, Any]]) -> None:
    """Mean and standard error over the seeds, and how often the interval holds .5."""
    heads = f"{'fit on':<12} {'exchange':<11} {'model':<14} {'split':<14}"
    print(f"\n{heads} seeds   mean    SE     low    high  intervals with .5")
    for key in dict.fromkeys(tuple(row[part] for part in PARTS) for row in rows):
        fit_on, exchange, model, split = key
        chosen = [row for row in rows if tuple(row[part] for part in PARTS) == key]
        known = [r for r in chosen if r["auc"] is not None]
        values = [row["auc"] for row in known]
        if not values:
            continue
        se = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        holds = sum(row["low"] <= 0.5 <= row["high"] for row in known)
        name = f"{fit_on:<12} {exchange:<11} {model:<14} {split:<14} {len(values):>5}"
        spread = f"{se:.3f}  {min(values):.3f}  {max(values):.3f}"
        print(f"{name}  {statistics.mean(values):.3f}  {spread}  {holds} of {len(values)}")


def parser_of(description: str | None, epilog: str) -> argparse.ArgumentParser:
    """What every benchmark over several seeds asks."""
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=epilog,
    )
    parser.add_argument("--preset", choices=("null", "hard", "paper", "easy"), default="null")
    parser.add_argument(
        "--seeds", type=int, default=20, help="how many seeds, counted from --first"
    )
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--cases", type=int, default=60, help="patients of each of four sites")
    parser.add_argument("--size", choices=("tiny", "small", "medium"), default="tiny")
    parser.add_argument("--branches", choices=tuple(BRANCHES), default="small")
    parser.add_argument(
        "--reduce", choices=tuple(EMBEDDING), default="logit", help="a branch's columns"
    )
    parser.add_argument("--threads", type=int, default=0, help="cores to use (default: all)")
    parser.add_argument("--folder", type=Path, default=Path("runs/presets"))
    parser.add_argument("--csv", type=Path, help="default: a file in FOLDER")
    return parser


def main() -> None:
    """Run the seeds that the options say."""
    parser = parser_of(__doc__, EXAMPLES)
    parser.add_argument(
        "--fit-on",
        nargs="+",
        choices=("tune", "out_of_fold", "in_sample"),
        default=["tune"],
        help="one or more ways to fit the fusion layer",
    )
    parser.add_argument(
        "--exchange",
        nargs="+",
        choices=EXCHANGES,
        default=["embeddings"],
        help="one or more things that the sites let leave for the fusion layer",
    )
    options = parser.parse_args()
    trifed.set_up_logging(verbose=False)
    trifed.logging.getLogger("trifed").setLevel("WARNING")
    rows: list[dict[str, Any]] = []
    table: Path = options.csv or options.folder / f"{options.preset}.csv"
    table.parent.mkdir(parents=True, exist_ok=True)
    for seed in range(options.first, options.first + options.seeds):
        for fit_on, exchange in itertools.product(options.fit_on, options.exchange):
            found = list(run_seed(options, seed, fit_on, exchange))
            print_seed(found)
            rows += found
        with table.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    print_means(rows)
    print(f"\n{table}")


if __name__ == "__main__":
    main()
