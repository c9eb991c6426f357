"""Questions about probabilities and predictors: `trifed stats calibration`, `dca`, `logistic`."""

import argparse
from typing import Any

from simulation.statistics.options import add_scores, question


def add_calibration(questions: Any) -> Any:
    """`trifed stats calibration`."""
    parser = question(
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
    add_scores(parser, says="columns of probabilities")
    parser.add_argument(
        "--knots", type=int, choices=(3, 4, 5), default=4, help="of the curve's spline (4)"
    )
    parser.add_argument(
        "--clip", type=float, metavar="E", help="move scores to within E and 1 - E: 0 has no logit"
    )
    parser.add_argument("--hosmer-lemeshow", action="store_true", help="the test, by both rules")
    parser.set_defaults(question=_calibration)
    return parser


def add_dca(questions: Any) -> Any:
    """`trifed stats dca`."""
    parser = question(
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
    add_scores(parser, says="columns of probabilities, or with --convert of any numbers")
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


def add_logistic(questions: Any) -> Any:
    """`trifed stats logistic`."""
    parser = question(
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


OF_MODELS = (add_calibration, add_dca, add_logistic)
