"""The command line of one hospital: `trifed site` with its actions."""

import argparse
from pathlib import Path
from typing import Any


def add_commands(commands: Any) -> None:
    """`trifed evaluate`, `predict`; `site init`, `policy`, `check`, `join`, `start` ..."""
    from client.approvals.command import add_approvals
    from client.assessment.command import add_dpia
    from client.audit.command import add_leak_audit
    from client.check.command import add_check
    from client.command import add_evaluate, add_predict
    from client.deploy.command import add_deploy
    from client.forecast.command import add_what_would_leave
    from client.joining.command import add_join
    from client.objections.command import add_objections
    from client.policy.command import add_policy
    from client.releases.command import add_ledger, add_unlock
    from client.secagg.command import add_peers
    from client.serve_command import add_serve

    add_evaluate(commands)
    add_predict(commands)
    site = commands.add_parser(
        "site",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="what one hospital does for itself",
        description="What one hospital does: for itself, before any network, and in a study.",
        epilog="""examples:
  trifed site check site.yaml --study configs/her2_blca.yaml
  trifed site join site_a.trifed-invitation --site site.yaml
  trifed site start site.yaml""",
    )
    actions = site.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (add_init, add_policy, add_check, add_what_would_leave, add_join, add_approvals):
        add(actions)
    for add in (add_dpia, add_leak_audit, add_deploy, add_serve, add_peers):
        add(actions)
    for add in (add_extract, add_explain, add_privacy, add_ledger, add_unlock, add_objections):
        add(actions)


def add_extract(actions: Any) -> None:
    """`trifed site extract`."""
    extract = actions.add_parser(
        "extract",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="radiomics of this hospital's patients to a table",
        description="""Extract the study's radiomics features of every patient of this site to a CSV
file, one row for each patient, and beside it to FILE.json with which settings and software. The
table stays in the hospital. A site may bring it instead of images (data.features in site.yaml).""",
        epilog="""examples:
  trifed site extract site.yaml --study my.yaml --out features.csv
  trifed site extract site.yaml --study my.yaml --out f.csv --mode pyradiomics""",
    )
    add_site_arguments(extract)
    extract.add_argument("--out", type=Path, required=True, help="the CSV file to write")
    extract.add_argument(
        "--mode", choices=("ibsi", "pyradiomics"), help="instead of the study's radiomics.mode"
    )
    extract.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        help="a file of the keys of 'radiomics' instead of the study's",
    )
    extract.set_defaults(run=run_site_extract)


def add_explain(actions: Any) -> None:
    """`trifed site explain`."""
    explain = actions.add_parser(
        "explain",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="where the trained networks look in this hospital's patients",
        description="""Write a page for each patient with every phase, the heat of each network over
it and the mask's outline. The pages hold patients' images: they go into a folder beside the site
file, and stay in the hospital. Nothing is sent.""",
        epilog="""examples:
  trifed site explain site.yaml --study my.yaml --weights run/weights --patient P001 P002
  trifed site explain site.yaml --study my.yaml --weights run/weights --all-test""",
    )
    add_site_arguments(explain)
    explain.add_argument(
        "--weights", type=Path, required=True, help="the folder 'weights' of the study's run"
    )
    whom = explain.add_mutually_exclusive_group(required=True)
    whom.add_argument(
        "--patient", nargs="+", action="extend", default=[], metavar="ID", help="these patients"
    )
    whom.add_argument(
        "--all-test", action="store_true", help="all patients of the site's test split"
    )
    explain.add_argument(
        "--out",
        type=Path,
        help="a folder within the site file's (default: explanations beside the site file)",
    )
    explain.set_defaults(run=run_site_explain)


def add_privacy(actions: Any) -> None:
    """`trifed site privacy`."""
    privacy = actions.add_parser(
        "privacy",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="what private training has spent at this hospital",
        description="""Print privacy-ledger.json: each round of training under differential privacy,
the epsilon of each study and network, the total, and what is left. A copy of the ledger that
is gone or damaged is mended from the other. Nothing is sent.""",
        epilog="example:\n  trifed site privacy site.yaml",
    )
    privacy.add_argument("site_file", type=Path, metavar="SITE.yaml", help="the site file")
    privacy.set_defaults(run=run_site_privacy)


def add_init(actions: Any) -> None:
    """`trifed site init`."""
    init = actions.add_parser(
        "init",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="draft manifest.csv, site.yaml and policy.yaml from a folder of images",
        description="""Look through a folder of DICOM series as a PACS exports them, with RTSTRUCT
or SEG masks among them, or of NIfTI and NRRD files, and write a draft of manifest.csv and
site.yaml, and policy.yaml with the pack standard unless it is there. manifest.why.csv says for
every patient and phase what was guessed, why and how sure: certain (words and times agree), likely
(one of them alone) or unsure. What is unsure stays blank: a person must confirm every line. No file
is moved, copied or overwritten. Nothing is sent.""",
        epilog="""examples:
  trifed site init /data/ct --study my.yaml --out site --name site_a
  trifed site init /data/ct --study my.yaml --out site --name site_x --ids folders
  trifed site init /data/ct --study my.yaml --out site --guess    fill in the unsure as well""",
    )
    init.add_argument("folder", type=Path, metavar="FOLDER", help="the folder of the images")
    init.add_argument("--study", type=Path, required=True, help="the study file")
    init.add_argument(
        "--out", type=Path, default=Path(), help="folder for the files (default: this one)"
    )
    init.add_argument("--name", default="site_a", help="the site's name (default: site_a)")
    init.add_argument(
        "--role", choices=("training", "external"), help="the site's role (default: the study's)"
    )
    init.add_argument(
        "--ids",
        choices=("pseudonyms", "folders", "dicom"),
        default="pseudonyms",
        help="patient_id is P001, P002 ... (default); the name of each patient's own sub-folder; "
        "or the PatientID of the DICOM headers, which is the hospital's decision: manifest.csv "
        "then names patients, and stays in the hospital",
    )
    init.add_argument("--guess", action="store_true", help="fill in what is unsure as well")
    init.set_defaults(run=run_site_init)


def add_site_arguments(parser: argparse.ArgumentParser) -> None:
    """The site file, the study file and the number of cores."""
    parser.add_argument("site_file", type=Path, metavar="SITE.yaml", help="the site file")
    parser.add_argument("--study", type=Path, required=True, help="the study file")
    parser.add_argument("--threads", type=int, default=0, help="cores to use (default: all)")


def hash_or_beginning(text: str) -> str:
    """Eight or more hexadecimal digits.

    Raises:
        ArgumentTypeError: If the text is something else.
    """
    if len(text) < 8 or set(text.lower()) - set("0123456789abcdef"):
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a hash; give eight or more digits 0-9 and a-f"
        )
    return text


def run_site_init(options: argparse.Namespace) -> int:
    """Write the draft and say how sure it is."""
    from rich.console import Console

    from client.draft.draft import make_draft
    from client.draft.files import check_free, role_of, write_draft
    from client.draft.report import FilesSeen, print_draft
    from shared.config import load_study

    study = load_study(options.study)
    role = role_of(study, options.name, options.role)
    check_free(options.out)
    with FilesSeen(Console(stderr=True)) as seen:
        draft = make_draft(
            options.folder, study.phases, ids=options.ids, unsure_too=options.guess, seen=seen
        )
    write_draft(draft, options.folder, options.out, name=options.name, role=role)
    print_draft(draft, options.out, options.study, Console())
    return 0


def run_site_extract(options: argparse.Namespace) -> int:
    """Write the radiomics table."""
    from rich.console import Console

    from client.extract import extract_table
    from client.progress import shown_progress
    from shared.config import load_study
    from shared.radiomics_settings import Radiomics
    from shared.strict_yaml import load_settings

    study = load_study(options.study)
    radiomics = study.radiomics
    if options.settings:
        radiomics = load_settings(options.settings, Radiomics)
    if options.mode:
        radiomics = Radiomics.model_validate(radiomics.model_dump() | {"mode": options.mode})
    study = study.model_copy(update={"radiomics": radiomics})
    with shown_progress(Console(stderr=True)) as progress:
        n_cases = extract_table(
            options.site_file, study, options.out, threads=options.threads, progress=progress
        )
    print(f"{options.out}: {n_cases} patients")
    return 0


def run_site_explain(options: argparse.Namespace) -> int:
    """Write a page for each patient."""
    from rich.console import Console

    from client.explain.patients import explain_patients
    from client.progress import shown_progress
    from shared.config import load_study

    out = options.out or options.site_file.parent / "explanations"
    with shown_progress(Console(stderr=True)) as progress:
        pages = explain_patients(
            options.site_file,
            load_study(options.study),
            options.weights,
            out,
            patients=options.patient,
            threads=options.threads,
            progress=progress,
        )
    print(f"{out}: {len(pages)} pages; they hold patients' images and stay in the hospital")
    return 0


def run_site_privacy(options: argparse.Namespace) -> int:
    """Print the ledger."""
    from client.ledger import Ledger
    from client.ledger_report import ledger_lines
    from client.policy.load import read_policy
    from client.settings import load_site_settings

    settings, policy = load_site_settings(options.site_file), read_policy(options.site_file)
    folder = options.site_file.resolve().parent
    ledger = Ledger(settings.name, folder=folder, cache=folder / settings.cache)
    for line in ledger_lines(ledger.entries(), policy.dp.max_epsilon, policy.dp.max_fusion_epsilon):
        print(line)
    return 0
