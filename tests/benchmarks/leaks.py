"""What leaks look like: the whole pipeline on hospitals where there is nothing to find.

On the preset `null` labels are drawn by chance, so an honest AUC is .5, and an honest Youden's J
(sensitivity + specificity - 1) is 0. The same hospitals are run as the product runs them and with
three mistakes that published studies make, each built here and nowhere else:

- `all patients screened`: features are screened on the labels of every patient, test patients too;
- `threshold on the test`: a model's threshold is the one that does best on the patients tested;
- `in-sample stacking`: the fusion layer is fitted on scores of patients that its parts have seen.

Ends with status 1 unless the fusion layer's honest AUCs, the end of the pipeline, are within .04
of .5, every other honest mean is within .04 or three of its standard errors (a mean over 20 seeds
of some 40 patients each has an error of .02, and there are a dozen of them), and each leak's mean
is above what it must be by more than .04 and by three of its standard errors. Features that were
screened on all patients are judged by the radiomics score, the one model that they enter; what is
left of it in the fusion layer, one of whose inputs that score is, is told and not judged.

    python -m tests.benchmarks.leaks --seeds 20
"""

import argparse
import csv
import math
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import client.stages.select_features as selecting
import trifed
from client.cohort.cases import TrainingCases
from client.stages import ANSWERS
from client.workbench import Workbench
from server.stages import RUNS
from shared.stages.select_features import SCREEN
from tests.benchmarks.presets import parser_of, run_folder, run_study

WITHIN = 0.04
STANDARD_ERRORS = 3.0
SCREENING = "select_features"
HONEST = ("internal_test", "external_test")
STRICT = tuple(f"fusion AUC {split}" for split in HONEST)
DILUTED = ("all patients screened", "fusion AUC internal_test")


def all_patients(bench: Workbench, held_out: int | None) -> TrainingCases:
    """The mistake: every patient of the site in place of the training patients."""
    del held_out
    site = bench.site
    handles = (site.training, site.tuning, site.internal_test)
    return TrainingCases(tuple(case for cases in handles for case in cases), "train")


def screened_on_all() -> Any:
    """A context in which every site answers the screen with all of its patients."""
    answers = selecting.answer_screen

    def leaky(request: Any, bench: Workbench) -> Any:
        with mock.patch.object(selecting, "training_without", all_patients):
            return answers(request, bench)

    return mock.patch.dict(ANSWERS, {SCREEN.name: (SCREEN, leaky)})


def lend_networks(run: Path, to: Path) -> None:
    """Let a run begin with all that another has and no screening of features decides.

    The networks are the same bits then, and need not be trained twice.
    """
    if (to / "study.yaml").exists():
        return
    beside = to.with_name(f"{to.name}.lent")
    shutil.rmtree(beside, ignore_errors=True)
    decided = (f"{slot}*" for slot in list(RUNS)[list(RUNS).index(SCREENING) :])
    kept = {f"{slot}*" for slot in ("clinical_model", "train_branches")}
    shutil.copytree(
        run / "study", beside / "study", ignore=shutil.ignore_patterns(*(set(decided) - kept))
    )
    shutil.copy(run / "study.yaml", beside)
    beside.rename(to)


def best_youden(measured: dict[str, Any]) -> float:
    """Youden's J at the threshold that does best on these very patients."""
    roc = measured["roc"]
    return max(tp - fp for tp, fp in zip(roc["tpr"], roc["fpr"], strict=True))


def seed_rows(options: argparse.Namespace, seed: int) -> list[tuple[str, str, float, float]]:
    """Of one seed: the variant, the number, its value, and what it must be without a leak."""
    honest, _ = run_study(options, seed, "out_of_fold", "embeddings")
    stacked, _ = run_study(options, seed, "in_sample", "embeddings")
    lend_networks(
        run_folder(options, seed, "out_of_fold", "embeddings"),
        run_folder(options, seed, "out_of_fold", "embeddings", "screened"),
    )
    with screened_on_all():
        screened, _ = run_study(options, seed, "out_of_fold", "embeddings", leak="screened")
    models = honest["models"]
    rows = []
    for split in HONEST:
        for model, splits in models.items():
            rows.append(("honest", f"{model} AUC {split}", splits[split]["auc"], 0.5))
    fusion = models["fusion"]["internal_test"]
    rows.append(("honest", "fusion AUC held out", honest["fusion"]["held_out_auc"], 0.5))
    rows.append(("honest", "fusion Youden internal_test", fusion["youden"]["value"], 0.0))
    rows.append(("threshold on the test", "fusion Youden internal_test", best_youden(fusion), 0.0))
    rows.append(
        ("in-sample stacking", "fusion AUC held out", stacked["fusion"]["held_out_auc"], 0.5)
    )
    for model in ("radiomics", "fusion"):
        auc = screened["models"][model]["internal_test"]["auc"]
        rows.append(("all patients screened", f"{model} AUC internal_test", auc, 0.5))
    return rows


def judge(
    variant: str, number: str, values: list[float], expected: float
) -> tuple[float, float, bool]:
    """Mean, standard error, and whether the mean is where it must be."""
    mean = statistics.mean(values)
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    if variant == "honest" and number in STRICT:
        return mean, error, abs(mean - expected) <= WITHIN
    allowed = max(WITHIN, STANDARD_ERRORS * error)
    if (variant, number) == DILUTED:
        return mean, error, True
    if variant == "honest":
        return mean, error, abs(mean - expected) <= allowed
    return mean, error, mean - expected > allowed


def main() -> int:
    """Run the seeds, print a table, and say whether all is as it must be."""
    parser = parser_of(__doc__, "")
    options = parser.parse_args()
    trifed.set_up_logging(verbose=False)
    trifed.logging.getLogger("trifed").setLevel("WARNING")
    rows: list[tuple[int, str, str, float, float]] = []
    for seed in range(options.first, options.first + options.seeds):
        found = seed_rows(options, seed)
        rows += [(seed, *row) for row in found]
        shown = "  ".join(f"{v[:8]} {n}: {value:.3f}" for v, n, value, _ in found if "fusion" in n)
        print(f"seed {seed:>3}  {shown}", flush=True)
    table: Path = options.csv or options.folder / "leaks.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("seed", "variant", "number", "value", "without a leak"))
        writer.writerows(rows)
    print(f"\n{'variant':<22} {'number':<32} seeds   mean    SE")
    right = True
    for variant, number, expected in dict.fromkeys((row[1], row[2], row[4]) for row in rows):
        values = [row[3] for row in rows if row[1:3] == (variant, number) and row[3] is not None]
        mean, error, well = judge(variant, number, values, expected)
        right &= well
        verdict = "" if well else "  <- not as it must be"
        print(f"{variant:<22} {number:<32} {len(values):>5}  {mean:.3f}  {error:.3f}{verdict}")
    print(f"\n{table}")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
