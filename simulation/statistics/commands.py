"""The options of `trifed stats`, and what answers each of its questions."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  trifed stats roc results.csv --outcome her2 --scores fusion radiomics --threshold 0.43
  trifed stats delong results.csv --outcome her2 --scores fusion radiomics clinical --site hospital
  trifed stats calibration results.csv --outcome her2 --scores fusion
  trifed stats dca results.csv --outcome her2 --scores fusion --thresholds 0.2 0.6 0.01
  trifed stats logistic clinical.csv --outcome her2 --predictors age sex grade:low

The table is CSV with one line for each patient. The outcome is 0 or 1 (or no, yes), or any text
with --positive. A line with a blank cell in a column that is asked for is left out and counted.
With --site every number is computed from parts that each site could send, which add up to the
numbers of the whole table; without it the table is one site."""


def add_stats(commands: Any, run: Callable[[argparse.Namespace], int]) -> None:
    """`trifed stats` and its questions; `run` prints what `answer` gives."""
    parser = commands.add_parser(
        "stats",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="the study's statistics of any table of scores and labels",
        description="""ROC curves, DeLong's tests, calibration, decision curves and logistic
regression of any CSV table, as JSON on standard output.""",
        epilog=EXAMPLES,
    )
    questions = parser.add_subparsers(title="questions", required=True, metavar="QUESTION")
    for add in (_add_roc, _add_delong, _add_calibration, _add_dca, _add_logistic):
        add(questions).set_defaults(run=run)


def answer(options: argparse.Namespace) -> str:
    """The answer to the question that the options ask, as JSON.

    Raises:
        TrifedError: If options, table or patients are not what they must be.
    """
    from shared.errors import ConfigError
    from simulation.statistics.answer import as_json
    from simulation.statistics.table import load_cohort

    if not 0 < options.level < 1:
        raise ConfigError(f"--level must be above 0 and below 1, not {options.level}.")
    cohort = load_cohort(
        options.file,
        outcome=options.outcome,
        columns=options.columns,
        site=options.site,
        positive=options.positive,
    )
    found = options.question(cohort, options)
    return as_json({"level": options.level, "table": cohort.account(), **found})


def _add(questions: Any, name: str, *, says: str, description: str, examples: str) -> Any:
    """A question with the options that all have."""
    parser = questions.add_parser(
        name,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help=says,
        description=description,
        epilog=f"examples:\n{examples}",
    )
    parser.add_argument("file", type=Path, metavar="FILE.csv", help="one line for each patient")
    parser.add_argument("--outcome", required=True, metavar="COL", help="the label, 0 or 1")
    parser.add_argument(
        "--positive", nargs="+", default=(), metavar="TEXT", help="the outcome's texts that mean 1"
    )
    parser.add_argument("--site", metavar="COL", help="compute from parts of each site that pool")
    parser.add_argument("--level", type=float, default=0.95, help="of the intervals (0.95)")
    return parser


def _add_scores(parser: Any, *, says: str) -> None:
    parser.add_argument(
        "--scores", nargs="+", required=True, dest="columns", metavar="COL", help=says
    )


def _add_direction(parser: Any) -> None:
    parser.add_argument(
        "--direction",
        choices=("high", "low"),
        default="high",
        help="whether high scores mean label 1 (high, the default) or low ones; never guessed "
        "from the data, so an AUC may be below 0.5",
    )


def _add_roc(questions: Any) -> Any:
    parser = _add(
        questions,
        "roc",
        says="AUC with intervals, Youden's point, measures at a threshold",
        description="""Of each score: the AUC with DeLong's interval (cut at 0 and 1) and the one
symmetric on the logit scale, and Youden's point, whose cut is found on the same patients and is
therefore optimistic. With --threshold, accuracy, sensitivity, specificity, predictive values, F1,
Matthews' correlation and Youden's J of calling positive at or above it, and McNemar's test of each
two scores. The threshold should come from training.""",
        examples="""  trifed stats roc results.csv --outcome her2 --scores fusion
  trifed stats roc results.csv --outcome her2 --scores fusion clinical --threshold 0.43 0.5
  trifed stats roc blood.csv --outcome died --scores albumin --direction low --curve
  trifed stats roc asah.csv --outcome outcome --positive Poor --scores s100b ndka""",
    )
    _add_scores(parser, says="columns of numbers; need not be probabilities")
    _add_direction(parser)
    parser.add_argument(
        "--threshold",
        type=float,
        nargs="+",
        default=(),
        metavar="T",
        help="one for all scores, or one each; at or above it is positive (at or below with low)",
    )
    parser.add_argument("--curve", action="store_true", help="every point of the ROC curve as well")
    parser.set_defaults(question=_roc)
    return parser


def _add_delong(questions: Any) -> Any:
    parser = _add(
        questions,
        "delong",
        says="compare the AUCs of scores of the same patients",
        description="""The difference of each two AUCs with its interval and DeLong's test, p values
adjusted by Holm's method, and variances and covariances of the AUCs. Ties count half. A
difference that is not significant does not say that two scores are equally good.""",
        examples="""\
  trifed stats delong results.csv --outcome her2 --scores fusion radiomics clinical
  trifed stats delong results.csv --outcome her2 --scores fusion radiomics --site hospital""",
    )
    _add_scores(parser, says="two or more columns of numbers")
    _add_direction(parser)
    parser.set_defaults(question=_delong)
    return parser


def _add_calibration(questions: Any) -> Any:
    parser = _add(
        questions,
        "calibration",
        says="do probabilities mean what they say: intercept, slope, curve, Brier score",
        description="""Of each score, which must be a probability: calibration in the large (the
intercept with the slope fixed to 1), slope and its intercept, observed over expected events, Brier
score and that scaled by the prevalence's, a table of ten groups, and the calibration curve, a
logistic regression on a restricted cubic spline of the logit with a pointwise band.

Hosmer and Lemeshow's test is off unless asked for: its p depends on how patients are grouped, and
p > .05 does not say that scores are well calibrated. With it both usual rules are printed.""",
        examples="""  trifed stats calibration results.csv --outcome her2 --scores fusion clinical
  trifed stats calibration results.csv --outcome her2 --scores fusion --knots 3 --clip 1e-6
  trifed stats calibration results.csv --outcome her2 --scores fusion --hosmer-lemeshow""",
    )
    _add_scores(parser, says="columns of probabilities")
    parser.add_argument(
        "--knots", type=int, choices=(3, 4, 5), default=4, help="of the curve's spline (4)"
    )
    parser.add_argument(
        "--clip", type=float, metavar="E", help="move scores to within E and 1 - E: 0 has no logit"
    )
    parser.add_argument("--hosmer-lemeshow", action="store_true", help="the test, by both rules")
    parser.set_defaults(question=_calibration)
    return parser


def _add_dca(questions: Any) -> Any:
    parser = _add(
        questions,
        "dca",
        says="decision curves: the net benefit of acting on a score",
        description="""The net benefit of each score, of treating all and of treating none at each
threshold, with a pointwise percentile band from a Poisson bootstrap of the patients. Name the range
of thresholds that patients and doctors would choose before looking at the curves: a score that wins
at thresholds nobody uses has won nothing.""",
        examples="""\
  trifed stats dca results.csv --outcome her2 --scores fusion --thresholds 0.2 0.6 0.01
  trifed stats dca results.csv --outcome her2 --scores fusion clinical --bootstrap 2000 --seed 7
  trifed stats dca blood.csv --outcome died --scores creatinine --convert""",
    )
    _add_scores(parser, says="columns of probabilities, or with --convert of any numbers")
    parser.add_argument(
        "--thresholds",
        type=float,
        nargs=3,
        default=(0.01, 0.99, 0.01),
        metavar=("FROM", "TO", "STEP"),
        help="probabilities at which to act (0.01 0.99 0.01); name yours before looking",
    )
    parser.add_argument("--bootstrap", type=int, default=500, metavar="N", help="replicates (500)")
    parser.add_argument("--seed", type=int, default=1, help="of the bootstrap (1)")
    parser.add_argument(
        "--convert",
        action="store_true",
        help="take each score's probability from a logistic regression on these patients",
    )
    parser.set_defaults(question=_dca)
    return parser


def _add_logistic(questions: Any) -> Any:
    parser = _add(
        questions,
        "logistic",
        says="odds ratios of predictors, alone and together",
        description="""Logistic regression of the outcome on each predictor alone and on all
together, over the same patients: coefficient, odds ratio, interval, z and p, log-likelihood and its
ratio test against the intercept alone, AIC, pseudo-R2 and variance inflation. A predictor is a
column of numbers, or NAME:reference for a column of text: each other text against the reference.

Where predictors separate the labels there is no ordinary estimate. Firth's penalised one is given
instead, with the reason, and with intervals and p from the profile of its likelihood.""",
        examples="""\
  trifed stats logistic clinical.csv --outcome her2 --predictors age sessile t_stage:T1
  trifed stats logistic clinical.csv --outcome her2 --predictors age sessile --site hospital
  trifed stats logistic clinical.csv --outcome her2 --predictors age --firth always""",
    )
    parser.add_argument(
        "--predictors",
        nargs="+",
        required=True,
        dest="columns",
        metavar="COL",
        help="columns of numbers, or NAME:reference for text",
    )
    parser.add_argument(
        "--firth",
        choices=("auto", "always", "never"),
        default="auto",
        help="auto: where labels are separated (default); never: refuse those",
    )
    parser.add_argument(
        "--interval",
        choices=("profile", "wald"),
        default="profile",
        help="of Firth's fit (profile); that of an ordinary fit is Wald's",
    )
    parser.set_defaults(question=_logistic)
    return parser


def _sign(options: argparse.Namespace) -> float:
    return 1.0 if options.direction == "high" else -1.0


def _roc(cohort: Any, options: argparse.Namespace) -> dict[str, Any]:
    from simulation.statistics.discrimination import roc

    found = roc(
        cohort,
        direction=_sign(options),
        level=options.level,
        thresholds=options.threshold,
        curve=options.curve,
    )
    return {"direction": options.direction, **found}


def _delong(cohort: Any, options: argparse.Namespace) -> dict[str, Any]:
    from simulation.statistics.discrimination import delong

    found = delong(cohort, direction=_sign(options), level=options.level)
    return {"direction": options.direction, **found}


def _calibration(cohort: Any, options: argparse.Namespace) -> dict[str, Any]:
    from simulation.statistics.calibration import calibrate

    return calibrate(
        cohort,
        level=options.level,
        knots=options.knots,
        clip=options.clip,
        with_test=options.hosmer_lemeshow,
    )


def _dca(cohort: Any, options: argparse.Namespace) -> dict[str, Any]:
    from simulation.statistics.decision_curves import decision_curves, grid

    return decision_curves(
        cohort,
        grid(*options.thresholds),
        level=options.level,
        replicates=options.bootstrap,
        seed=options.seed,
        convert=options.convert,
    )


def _logistic(cohort: Any, options: argparse.Namespace) -> dict[str, Any]:
    from simulation.statistics.regression import regress

    return regress(cohort, level=options.level, firth=options.firth, interval=options.interval)
