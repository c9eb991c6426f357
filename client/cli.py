"""The command line of one hospital: `trifed site check` and `trifed site extract`."""

import argparse
from pathlib import Path
from typing import Any


def add_commands(commands: Any) -> None:
    """`trifed site check` and `trifed site extract`."""
    site = commands.add_parser(
        "site",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="what one hospital does for itself",
        description="What one hospital does for itself, before and without any network.",
        epilog="example:\n  trifed site check site.yaml --study configs/her2_blca.yaml",
    )
    actions = site.add_subparsers(title="commands", required=True, metavar="COMMAND")
    check = actions.add_parser(
        "check",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="is this hospital ready to take part?",
        description="""Open every file that training will open, the way training does, and say for
each patient whether it can take part, why not, and what to do. Nothing is sent.
Exit code 0 if the site is ready, else 1.""",
        epilog="example:\n  trifed site check site.yaml --study configs/her2_blca.yaml",
    )
    add_site_arguments(check)
    check.set_defaults(run=run_site_check)
    extract = actions.add_parser(
        "extract",
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
