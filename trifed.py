"""The command line's front door: it reads the arguments and opens the room that does the work."""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
PACKAGES = ("shared", "client", "server", "simulation")

EXAMPLES = """examples:
  trifed simulate configs/demo.yaml --out runs/demo        the whole study on made-up patients
  trifed simulate my.yaml --sites a.yaml b.yaml --out r1   the same on your own folders
  trifed simulate configs/demo.yaml --out runs/demo --resume   go on after a crash
  trifed verify runs/demo                                  federated against pooled numbers
  trifed site check site.yaml --study my.yaml              is this hospital ready?
  trifed site extract site.yaml --study my.yaml --out f.csv    radiomics to a table

Made for research; not a medical device."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 if all is well, 1 for an error that is told in words, 2 for bad usage."""
    options = build_parser().parse_args(arguments)
    set_up_logging(verbose=options.verbose)
    refuse_strangers()
    from shared.errors import TrifedError

    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except TrifedError as error:
        print(f"trifed: {error.code}\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("trifed: stopped. What was done is saved; go on with --resume.", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Every command with its options; each command's help teaches by example."""
    parser: argparse.ArgumentParser = new_parser(
        argparse.ArgumentParser, prog="trifed", description=DESCRIPTION, epilog=EXAMPLES
    )
    parser.add_argument("--version", action="version", version=f"trifed {version()}")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell more in the log")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add_simulate(commands)
    add_verify(commands)
    add_report(commands)
    add_site(commands)
    return parser


DESCRIPTION = """Train and test one predictive model from tri-phasic contrast CT without any image
leaving a hospital."""


def new_parser(make: Callable[..., argparse.ArgumentParser], *names: str, **texts: Any) -> Any:
    """A parser whose examples keep their lines."""
    return make(*names, formatter_class=argparse.RawDescriptionHelpFormatter, **texts)


def add_simulate(commands: Any) -> None:
    """`trifed simulate`."""
    parser = new_parser(
        commands.add_parser,
        "simulate",
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
    parser = new_parser(
        commands.add_parser,
        "verify",
        help="compare a simulated run with the pooled computation",
        description="""Compute again, from all sites' rows in one table, every number that the
federated stages must give exactly, and print the largest difference of each.
Only possible for a simulation, where all rows are on one machine.
Exit code 0 if all are within 1e-8, else 1.""",
        epilog="example:\n  trifed verify runs/demo",
    )
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="the --out of a simulation")
    parser.set_defaults(run=run_verify)


def add_report(commands: Any) -> None:
    """`trifed report`."""
    parser = new_parser(
        commands.add_parser,
        "report",
        help="draw a run's report and figures again",
        description="Draw the report from results.json alone; no patient data is read.",
        epilog="""examples:
  trifed report runs/demo
  trifed report runs/demo --figures figures/     each figure as PNG, for a paper""",
    )
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="a run's folder")
    parser.add_argument("--figures", type=Path, help="also write each figure as PNG here")
    parser.set_defaults(run=run_report)


def add_site(commands: Any) -> None:
    """`trifed site check` and `trifed site extract`."""
    site = new_parser(
        commands.add_parser,
        "site",
        help="what one hospital does for itself",
        description="What one hospital does for itself, before and without any network.",
    )
    actions = site.add_subparsers(title="commands", required=True, metavar="COMMAND")
    check = new_parser(
        actions.add_parser,
        "check",
        help="is this hospital ready to take part?",
        description="""Open every file that training will open, the way training does, and say for
each patient whether it can take part, why not, and what to do. Nothing is sent.
Exit code 0 if the site is ready, else 1.""",
        epilog="example:\n  trifed site check site.yaml --study configs/her2_blca.yaml",
    )
    add_site_arguments(check)
    check.set_defaults(run=run_site_check)
    extract = new_parser(
        actions.add_parser,
        "extract",
        help="radiomics of this hospital's patients to a table",
        description="""Extract the study's radiomics features of every patient of this site to a CSV
file, one row for each patient. The table stays in the hospital.""",
        epilog="""examples:
  trifed site extract site.yaml --study my.yaml --out features.csv
  trifed site extract site.yaml --study my.yaml --out f.csv --mode pyradiomics""",
    )
    add_site_arguments(extract)
    extract.add_argument("--out", type=Path, required=True, help="the CSV file to write")
    extract.add_argument(
        "--mode", choices=("ibsi", "pyradiomics"), help="instead of the study's radiomics.mode"
    )
    extract.set_defaults(run=run_site_extract)


def add_site_arguments(parser: argparse.ArgumentParser) -> None:
    """The site file, the study file and the number of cores."""
    parser.add_argument("site_file", type=Path, metavar="SITE.yaml", help="the site file")
    parser.add_argument("--study", type=Path, required=True, help="the study file")
    parser.add_argument("--threads", type=int, default=0, help="cores to use (default: all)")


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


def run_report(options: argparse.Namespace) -> int:
    """Draw the report again."""
    import json

    from server.report import draw_figures, write_report
    from shared.errors import StateError

    path = options.run_folder / "results.json"
    if not path.exists():
        raise StateError(f"{path} does not exist; finish the run first (--resume).")
    results = json.loads(path.read_text(encoding="utf-8"))
    write_report(results, options.run_folder / "report.html")
    print(f"report: {options.run_folder / 'report.html'}")
    if options.figures:
        draw_figures(results, options.figures)
        print(f"figures: {options.figures}")
    return 0


def run_site_check(options: argparse.Namespace) -> int:
    """Print the verdict on every patient."""
    from rich.console import Console

    from client.doctor import check_site, print_report
    from shared.config import load_study

    report = check_site(options.site_file, load_study(options.study), threads=options.threads)
    print_report(report, Console())
    return 0 if report.ready else 1


def run_site_extract(options: argparse.Namespace) -> int:
    """Write the radiomics table."""
    from client.doctor import extract_table
    from shared.config import load_study

    study = load_study(options.study)
    if options.mode:
        radiomics = study.radiomics.model_copy(update={"mode": options.mode})
        study = study.model_copy(update={"radiomics": radiomics})
    n_cases = extract_table(options.site_file, study, options.out, threads=options.threads)
    print(f"{options.out}: {n_cases} patients")
    return 0


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


def set_up_logging(*, verbose: bool) -> None:
    """Plain lines with times on standard error."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("trifed").setLevel(logging.DEBUG if verbose else logging.INFO)


def refuse_strangers() -> None:
    """Make sure that our packages are ours: their names are common, others may be in the way."""
    from importlib.util import find_spec

    for name in PACKAGES:
        spec = find_spec(name)
        found = Path(spec.origin).resolve().parent if spec and spec.origin else None
        if found != ROOT / name:
            raise SystemExit(
                f"trifed: another package named '{name}' is in the way: {found or 'none found'}.\n"
                "Run from another folder, or take it off PYTHONPATH."
            )


def version() -> str:
    """The installed release."""
    from importlib import metadata

    try:
        return metadata.version("trifed")
    except metadata.PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
