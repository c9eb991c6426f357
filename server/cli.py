"""The command line of the coordinator: `trifed report`."""

import argparse
from pathlib import Path
from typing import Any


def add_commands(commands: Any) -> None:
    """`trifed report`."""
    parser = commands.add_parser(
        "report",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="draw a run's report and figures again",
        description="""Draw the report from results.json, and baselines.json where there is one; no
patient data is read.""",
        epilog="""examples:
  trifed report runs/demo
  trifed report runs/demo --figures figures/     each figure as PNG, for a paper""",
    )
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="a run's folder")
    parser.add_argument("--figures", type=Path, help="also write each figure as PNG here")
    parser.set_defaults(run=run_report)


def run_report(options: argparse.Namespace) -> int:
    """Draw the report again."""
    from server.report import draw_figures, read_results, write_report

    results = read_results(options.run_folder)
    write_report(results, options.run_folder / "report.html")
    print(f"report: {options.run_folder / 'report.html'}")
    if options.figures:
        draw_figures(results, options.figures)
        print(f"figures: {options.figures}")
    return 0
