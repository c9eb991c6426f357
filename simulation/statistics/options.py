"""The options that several questions of `trifed stats` have."""

import argparse
from pathlib import Path
from typing import Any


def question(questions: Any, name: str, *, says: str, description: str, examples: str) -> Any:
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


def add_scores(parser: Any, *, says: str) -> None:
    """The scores that a question is about."""
    parser.add_argument(
        "--scores", nargs="+", required=True, dest="columns", metavar="COL", help=says
    )


def add_direction(parser: Any) -> None:
    """Which way scores point."""
    parser.add_argument(
        "--direction",
        choices=("high", "low"),
        default="high",
        help="whether high scores mean label 1 (high, the default) or low ones; never guessed "
        "from the data, so an AUC may be below 0.5",
    )


def sign(options: argparse.Namespace) -> float:
    """1 where high scores mean label 1, -1 where low ones do."""
    return 1.0 if options.direction == "high" else -1.0
