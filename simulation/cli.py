"""The command line of the simulation: `trifed simulate` and `trifed verify`."""

import argparse
from pathlib import Path
from typing import Any


def add_commands(commands: Any) -> None:
    """Put the simulation's commands among the others."""
    add_simulate(commands)
    add_verify(commands)


def add_simulate(commands: Any) -> None:
    """`trifed simulate`."""
    parser = commands.add_parser(
        "simulate",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="run every site of a study on this machine",
        description="""Run a whole study on this machine: from CT volumes on the disk, through the
federated stages, to the evaluation at the external site and a report.

Without --sites the study's 'phantom' section says which made-up patients to write to
OUT/cohort first. With --sites the study runs on folders that exist.""",
        epilog="""examples:
  trifed simulate configs/demo.yaml --out runs/demo
  trifed simulate configs/demo.yaml --out runs/demo --resume      after a crash or Ctrl-C
  trifed simulate configs/demo.yaml --out runs/seed2 --seed 2     another made-up cohort
  trifed simulate my.yaml --sites a/site.yaml b/site.yaml x/site.yaml --out runs/mine
  trifed simulate configs/demo.yaml --out runs/f --engine flower  on Flower and Ray

what OUT holds afterwards:
  report.html      figures and tables, one file, opens anywhere
  results.json     every number
  weights/         the global networks, safetensors
  study.yaml       the study as it was run
  study/           the state after each stage and round; --resume goes on from it
  cohort/          the made-up hospitals, if there were any""",
    )
    parser.add_argument("study", type=Path, help="the study file")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument(
        "--sites", type=Path, nargs="+", default=[], metavar="SITE.yaml", help="your own site files"
    )
    parser.add_argument(
        "--engine",
        choices=("local", "flower"),
        default="local",
        help="local: in this process (default); flower: on Flower's simulation engine",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--seed", type=int, help="instead of the study file's seed")
    parser.add_argument("--threads", type=int, default=0, help="cores to use (default: all)")
    parser.add_argument("--plain", action="store_true", help="plain lines even on a terminal")
    parser.set_defaults(run=run_simulate)


def add_verify(commands: Any) -> None:
    """`trifed verify`."""
    parser = commands.add_parser(
        "verify",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="compare a simulated run with the pooled computation",
        description="""Compute again, from all sites' rows in one table, every number that the
federated stages must give exactly, and print the largest difference of each.
Only possible for a simulation, where all rows are on one machine.
Exit code 0 if all are within 1e-8, else 1.""",
        epilog="example:\n  trifed verify runs/demo",
    )
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="the --out of a simulation")
    parser.set_defaults(run=run_verify)


def run_simulate(options: argparse.Namespace) -> int:
    """Run a study and say where the report is."""
    from contextlib import nullcontext

    from rich.console import Console

    from server.progress import LoggedProgress
    from shared.config import load_study
    from simulation.live import LiveProgress
    from simulation.simulate import prepare_run, run_job

    console = Console(stderr=True)
    plain = options.plain or not console.is_terminal
    study = load_study(options.study)
    view = nullcontext(LoggedProgress()) if plain else LiveProgress(study, console)
    with view as progress:
        job = prepare_run(
            options.study,
            options.out,
            site_files=options.sites,
            seed=options.seed,
            threads=options.threads,
            resume=options.resume,
            progress=progress,
        )
        results = run_job(job, engine=options.engine, progress=progress)
    print_summary(results)
    print(f"\nreport: {options.out / 'report.html'}")
    return 0 if results["verify"]["passed"] else 1


def run_verify(options: argparse.Namespace) -> int:
    """Print the table of differences."""
    from simulation.simulate import verify_folder

    verification = verify_folder(options.run_folder)
    print(f"{'stage':<18} {'quantity':<40} largest difference")
    for check in verification.checks:
        print(f"{check.stage:<18} {check.quantity:<40} {check.largest_difference:.2e}")
    print("all within 1e-8" if verification.passed else "NOT all within 1e-8")
    return 0 if verification.passed else 1


def print_summary(results: dict[str, Any]) -> None:
    """Each model's AUC on the two test splits."""
    if results["synthetic"]:
        print("synthetic data: these patients are made up")
    print(f"{'AUC (95% CI)':<16} {'internal test':<26} external test")
    for model, splits in results["models"].items():
        internal, external = (describe(splits.get(s)) for s in ("internal_test", "external_test"))
        print(f"{model:<16} {internal:<26} {external}")


def describe(measured: dict[str, Any] | None) -> str:
    """An AUC with its interval and n."""
    if measured is None or measured["auc"] is None:
        return "–"
    low, high = measured["auc_ci"]
    return f"{measured['auc']:.3f} ({low:.3f}-{high:.3f}) n={measured['n']}"
