"""The command line of the simulation: `trifed simulate`, `phantom`, `verify` and the others."""

import argparse
from pathlib import Path
from typing import Any

from simulation.statistics.commands import add_stats, answer


def add_commands(commands: Any) -> None:
    """Put the simulation's commands among the others."""
    add_simulate(commands)
    add_phantom(commands)
    add_verify(commands)
    add_baselines(commands)
    add_stats(commands, run_stats)


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


def add_phantom(commands: Any) -> None:
    """`trifed phantom`."""
    parser = commands.add_parser(
        "phantom",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="write the made-up hospitals of a study and no more",
        description="""Write the hospitals that the study's 'phantom' section describes, each with
its images, masks, manifest.csv, clinical.csv, site.yaml and policy.yaml, to try what a hospital
does before there are patients. 'trifed simulate' writes the same. Cut off, the same command goes
on.""",
        epilog="""examples:
  trifed phantom configs/tutorial.yaml --out hospitals
  trifed phantom configs/tutorial.yaml --out hospitals --site-threads 1   all on one machine""",
    )
    parser.add_argument("study", type=Path, help="the study file")
    parser.add_argument("--out", type=Path, required=True, help="folder of the hospitals' folders")
    parser.add_argument("--seed", type=int, help="instead of the study file's seed")
    parser.add_argument("--threads", type=int, default=0, help="cores to use (default: all)")
    parser.add_argument(
        "--site-threads",
        type=int,
        default=0,
        help="device.threads of each site file (default: 0, all cores)",
    )
    parser.add_argument("--plain", action="store_true", help="plain lines even on a terminal")
    parser.set_defaults(run=run_phantom)


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


def add_baselines(commands: Any) -> None:
    """`trifed baselines`."""
    parser = commands.add_parser(
        "baselines",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="compare a simulated run with each site alone, all pooled, all but one",
        description="""Run the whole study again, by the same code with the same seed and splits, on
each training site alone, on all of them pooled as one hospital, and on all but one, and compare
every model on the same test patients: AUCs and gaps with intervals. Nothing is extracted again.
Baselines that are done are not run again; after a crash the same command goes on.""",
        epilog="""examples:
  trifed baselines runs/demo
  trifed baselines runs/demo --what pooled alone
  trifed baselines --summary runs/seed1 runs/seed2 runs/seed3 --out summary.json

what RUN holds afterwards:
  baselines.json   every AUC and gap with its interval
  baselines/       each baseline's own run: study/, weights/, results.json
  report.html      the report with a section of them""",
    )
    parser.add_argument(
        "run_folders", type=Path, nargs="+", metavar="RUN", help="the --out of a simulation"
    )
    kinds = ("alone", "pooled", "leave_one_out")
    parser.add_argument(
        "--what", nargs="+", choices=kinds, default=kinds, help="which baselines (default: all)"
    )
    parser.add_argument("--resume", action="store_true", help="go on; done without it as well")
    parser.add_argument("--threads", type=int, help="cores to use (default: as many as RUN had)")
    parser.add_argument("--plain", action="store_true", help="plain lines even on a terminal")
    parser.add_argument(
        "--summary", action="store_true", help="run nothing: gaps over several runs' seeds"
    )
    parser.add_argument("--out", type=Path, help="with --summary: also write it as JSON here")
    parser.set_defaults(run=run_baselines)


def run_simulate(options: argparse.Namespace) -> int:
    """Run a study and say where the report is."""
    from rich.console import Console

    from server.run_state import result_lines
    from shared.config import load_study
    from simulation.simulate import prepare_run, run_job

    console = Console(stderr=True)
    plain = options.plain or not console.is_terminal
    with progress_view(load_study(options.study), console, plain=plain) as progress:
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
    for line in result_lines(results):
        print(line)
    print(f"\nreport: {options.out / 'report.html'}")
    print(f"files for a paper: trifed report {options.out}")
    return 0 if results["verify"]["passed"] else 1


def run_phantom(options: argparse.Namespace) -> int:
    """Write the hospitals and say where each site file is."""
    from rich.console import Console

    from client.workers import n_threads
    from simulation.simulate import load_seeded, made_up

    console = Console(stderr=True)
    study = load_seeded(options.study, options.seed)
    with progress_view(study, console, plain=options.plain or not console.is_terminal) as progress:
        found = made_up(
            study,
            options.out,
            n_threads(options.threads),
            progress,
            site_threads=options.site_threads,
        )
    for site_file in found.values():
        print(f"{site_file}: synthetic data")
    return 0


def run_verify(options: argparse.Namespace) -> int:
    """Print the table of differences."""
    from simulation.simulate import verify_folder

    verification = verify_folder(options.run_folder)
    print(f"{'stage':<18} {'quantity':<40} largest difference")
    for check in verification.checks:
        print(f"{check.stage:<18} {check.quantity:<40} {check.largest_difference:.2e}")
    print("all within 1e-8" if verification.passed else "NOT all within 1e-8")
    return 0 if verification.passed else 1


def run_baselines(options: argparse.Namespace) -> int:
    """Run the baselines that are still to be done and print the gaps, or a summary over seeds."""
    from shared.errors import ConfigError

    if options.summary:
        return print_seeds(options.run_folders, options.out)
    if len(options.run_folders) > 1 or options.out:
        raise ConfigError("several runs and --out go with --summary; name one RUN without it.")
    from rich.console import Console

    from server.report import read_results, write_report
    from simulation.baselines.compare import write_comparison
    from simulation.baselines.run import open_runs, run_baselines

    console, out = Console(stderr=True), options.run_folders[0]
    plain = options.plain or not console.is_terminal
    runs = open_runs(out, options.what, threads=options.threads)
    run_baselines(runs, lambda settings: progress_view(settings, console, plain=plain))
    results = write_comparison(runs)
    write_report(read_results(out), out / "report.html")
    print_gaps(results, "value", runs=("federated", "pooled", "mean_alone"))
    print(f"\nreport: {out / 'report.html'}")
    return 0


def run_stats(options: argparse.Namespace) -> int:
    """Print the statistics of a table."""
    print(answer(options))
    return 0


def progress_view(settings: Any, console: Any, *, plain: bool) -> Any:
    """What shows the progress of one run: a live table, or plain lines."""
    from contextlib import nullcontext

    from server.progress import LoggedProgress
    from simulation.live import LiveProgress

    return nullcontext(LoggedProgress()) if plain else LiveProgress(settings, console)


def print_seeds(run_folders: list[Path], out: Path | None) -> int:
    """Print, and write if that is asked, the gaps over the seeds of several runs."""
    import json

    from shared.files import write_atomically
    from simulation.baselines.summary import summarise

    summary = summarise(run_folders)
    print(f"seeds: {', '.join(map(str, summary['seeds']))}; intervals are t-intervals over seeds")
    print_gaps(summary, "mean", runs=None)
    if out is not None:
        write_atomically(out, json.dumps(summary, indent=1, allow_nan=False).encode())
        print(f"\nsummary: {out}")
    return 0


def print_gaps(results: dict[str, Any], key: str, *, runs: tuple[str, ...] | None) -> None:
    """Each model's gaps to these runs (None: all) on the test splits, and 2.5D against 3D."""
    if results["synthetic"]:
        print("synthetic data: these patients are made up")
    for split, models in results["splits"].items():
        print(f"\n{split.replace('_', ' ')}: AUC, federated less the other (interval)")
        for model, found in models.items():
            for run, gap in found["gaps"].items():
                if runs is None or run in runs:
                    print(f"{model:<16} {run:<24} {describe_gap(gap, key)}")
        for pair in results["branches"][split]:
            for run, gap in pair["gaps"].items():
                if runs is None or run in runs:
                    what = f"{pair['first']} less {pair['second']}, {run}"
                    print(f"{what:<41} {describe_gap(gap, key)}")


def describe_gap(gap: dict[str, Any], key: str) -> str:
    """A gap with its interval, and its P value or the number of seeds."""
    if gap[key] is None:
        return "–"
    interval = "no interval" if gap["ci"] is None else "{:+.3f} to {:+.3f}".format(*gap["ci"])
    more = f"n={gap['n_seeds']} seeds" if "n_seeds" in gap else ""
    if gap.get("p") is not None:
        more = f"p={gap['p']:.3f}"
    return f"{gap[key]:+.3f} ({interval}) {more}".rstrip()
