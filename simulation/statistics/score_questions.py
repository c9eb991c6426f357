"""Questions about scores on the same patients: `trifed stats roc`, `delong` and `reclassify`."""

import argparse
from typing import Any

from simulation.statistics.options import add_direction, add_scores, question, sign


def add_roc(questions: Any) -> Any:
    """`trifed stats roc`."""
    parser = question(
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
    add_scores(parser, says="columns of numbers; need not be probabilities")
    add_direction(parser)
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


def add_delong(questions: Any) -> Any:
    """`trifed stats delong`."""
    parser = question(
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
    add_scores(parser, says="two or more columns of numbers")
    add_direction(parser)
    parser.set_defaults(question=_delong)
    return parser


def add_reclassify(questions: Any) -> Any:
    """`trifed stats reclassify`."""
    parser = question(
        questions,
        "reclassify",
        says="IDI and NRI of a new probability against an old one",
        description="""The integrated discrimination improvement and the net reclassification
improvement of the second probability over the first, with the parts of each label. Journals ask for
them, but they should not be headlined: the NRI also rewards scores that are not calibrated. Compare
AUCs (delong) and net benefit (dca) first.""",
        examples="""\
  trifed stats reclassify results.csv --outcome her2 --scores clinical fusion
  trifed stats reclassify results.csv --outcome her2 --scores clinical fusion --cuts 0.2 0.6""",
    )
    add_scores(parser, says="the old and the new column of probabilities")
    parser.add_argument(
        "--cuts",
        type=float,
        nargs="+",
        default=(),
        metavar="P",
        help="probabilities that divide the classes patients are treated by",
    )
    parser.set_defaults(question=_reclassify)
    return parser


def _roc(cohort: Any, options: argparse.Namespace) -> dict[str, Any]:
    from simulation.statistics.discrimination import roc

    found = roc(
        cohort,
        direction=sign(options),
        level=options.level,
        thresholds=options.threshold,
        curve=options.curve,
    )
    return {"direction": options.direction, **found}


def _delong(cohort: Any, options: argparse.Namespace) -> dict[str, Any]:
    from simulation.statistics.discrimination import delong

    found = delong(cohort, direction=sign(options), level=options.level)
    return {"direction": options.direction, **found}


def _reclassify(cohort: Any, options: argparse.Namespace) -> dict[str, Any]:
    from simulation.statistics.reclassification import reclassify

    return reclassify(cohort, options.cuts, level=options.level)


OF_SCORES = (add_roc, add_delong, add_reclassify)
