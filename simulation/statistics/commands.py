"""`trifed stats`: its help, and the answer to whatever question it is asked."""

import argparse
from collections.abc import Callable
from typing import Any

from simulation.statistics.model_questions import OF_MODELS
from simulation.statistics.score_questions import OF_SCORES

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
    for add in (*OF_SCORES, *OF_MODELS):
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
