"""The command line of whoever was handed a bundle: `trifed evaluate` and `trifed predict`."""

import argparse
from pathlib import Path
from typing import Any


def add_evaluate(commands: Any) -> None:
    """`trifed evaluate`."""
    evaluate = commands.add_parser(
        "evaluate",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="test a bundle on this hospital's patients, without a network",
        description="""Score every patient of this hospital with the frozen models of a bundle's
file, and write what release.external of policy.yaml lets leave: a summary (the default), binned
counts of scores, or scores and labels without ids. The numbers are those that the same hospital
gives a server. Nothing is sent; read the file, then hand it on or not.

Each bundle is shown to a cohort once: looks.json beside the site file keeps the answer, and asking
again gives the same file. It counts how often the patients were looked at, since a model that was
chosen by external numbers is not tested by them.""",
        epilog="""examples:
  trifed evaluate her2.bundle --site site.yaml
  trifed evaluate her2.bundle --site site.yaml --hash 3f9ac21b --out result.json""",
    )
    evaluate.add_argument("bundle", type=Path, metavar="BUNDLE", help="the bundle's file")
    evaluate.add_argument(
        "--site", type=Path, required=True, metavar="SITE.yaml", help="a site file, role: external"
    )
    evaluate.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="the result's file (default: result-HASH.json beside the site file)",
    )
    add_bundle_arguments(evaluate)
    evaluate.set_defaults(run=run_evaluate)


def run_evaluate(options: argparse.Namespace) -> int:
    """Evaluate, write the result and print it."""
    from rich.console import Console

    from client.evaluate import evaluate_file, hand_out
    from client.evaluate_report import evaluation_lines
    from client.progress import shown_progress

    with shown_progress(Console(stderr=True)) as progress:
        found = evaluate_file(
            options.bundle,
            options.site,
            bundle_hash=(options.hash or "").lower(),
            threads=options.threads,
            progress=progress,
        )
    result = found.result
    out = options.out or options.site.parent / f"result-{result.bundle_hash[:12]}.json"
    hand_out(found, options.site, out)
    for line in evaluation_lines(found):
        print(line)
    print(f"{out}: written at the level {result.reply.level}; nothing was sent")
    return 0


def add_predict(commands: Any) -> None:
    """`trifed predict`."""
    predict = commands.add_parser(
        "predict",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="what a bundle says of one new patient, for research",
        description="""Score one patient whose label is not known with the frozen models of a
bundle's file, by the code that scored the patients of the run. Write prediction.json and
prediction.html: each model's probability, the verdict of its frozen threshold, what each input
of the fusion layer adds, where the networks look, and warnings where the patient is unlike those
that trained the models. Nothing is sent. Research use only: not a medical device.

The patient stands in a hospital's manifest.csv and clinical.csv, which needs no label, or
the files are named: an image for each phase (a folder with a DICOM series, NIfTI or NRRD),
and a mask (RTSTRUCT, SEG, NIfTI or NRRD).

--sr writes the prediction as a DICOM Structured Report in the study of the CT series too. It holds
the patient's name and identifiers, as an archive needs them: it stays in the hospital, and trifed
sends it nowhere. A file that is there already is kept.""",
        epilog="""examples:
  trifed predict her2.bundle --site site.yaml --patient P001 --out p001
  trifed predict her2.bundle --image arterial=ct/2 --image venous=ct/3 --image delayed=ct/4 \\
      --mask rtstruct.dcm --roi tumour --clinical sessile=yes age=71 --out new
  trifed predict her2.bundle --site site.yaml --patient P001 --out p001 --sr p001.dcm""",
    )
    predict.add_argument("bundle", type=Path, metavar="BUNDLE", help="the bundle's file")
    add_patient_arguments(predict)
    predict.add_argument("--out", type=Path, required=True, metavar="DIR", help="the files' folder")
    predict.add_argument(
        "--sr",
        type=Path,
        metavar="FILE.dcm",
        help="write a DICOM Structured Report too, for the hospital's own archive; the images must "
        "be DICOM series. It names the patient and never leaves the hospital",
    )
    predict.add_argument("--no-heat", action="store_true", help="do not show where networks look")
    add_bundle_arguments(predict)
    predict.set_defaults(run=run_predict)


def add_patient_arguments(parser: argparse.ArgumentParser) -> None:
    """Who the patient is: in a hospital's tables, or files."""
    parser.add_argument("--site", type=Path, metavar="SITE.yaml", help="a hospital's site file")
    parser.add_argument("--patient", metavar="ID", help="a patient of its manifest")

    def several(option: str, metavar: str, text: str) -> None:
        parser.add_argument(
            option, nargs="+", action="extend", default=[], metavar=metavar, help=text
        )

    several("--image", "PHASE=PATH", "the image of each phase, instead of --site")
    several("--mask", "[PHASE=]PATH", "the tumour's mask, one for all phases or each its own")
    several("--clinical", "NAME=VALUE", "clinical predictors: numbers, yes or no")
    parser.add_argument("--roi", default="", help="the tumour's name in a DICOM mask of several")
    parser.add_argument(
        "--resample-mask",
        action="store_true",
        help="take a mask that was drawn on another series of the examination",
    )


def add_bundle_arguments(parser: argparse.ArgumentParser) -> None:
    """The bundle's hash and the number of cores."""
    from client.cli import hash_or_beginning

    parser.add_argument(
        "--hash",
        type=hash_or_beginning,
        help="the bundle's hash as its maker told it, or its first eight or more digits; a file "
        "with another is refused",
    )
    parser.add_argument("--threads", type=int, help="cores to use (default: the site file's)")


def run_predict(options: argparse.Namespace) -> int:
    """Predict, write both files and print what matters."""
    from rich.console import Console

    from client.predict.page import verdict, write_prediction
    from client.predict.patient import wanted_of
    from client.predict.predict import predict_file
    from client.progress import shown_progress
    from shared.research_use import USE

    wanted = wanted_of(options)
    if options.sr:
        from client.predict.structured_report import refuse_existing, write_report

        refuse_existing(options.sr)
    with shown_progress(Console(stderr=True)) as progress:
        found = predict_file(
            options.bundle,
            wanted,
            bundle_hash=(options.hash or "").lower(),
            threads=options.threads,
            heat=not options.no_heat,
            sources=options.sr is not None,
            progress=progress,
        )
    print(USE + (" Made-up patients: synthetic data." if found.synthetic else ""))
    print(f"probability of {found.positive_means}")
    for name, score in found.models.items():
        number = "  -  " if score.probability is None else f"{score.probability:.3f}"
        print(f"  {name:20} {number}  {verdict(found, name)}")
    for text in found.warnings:
        print(f"warning: {text}")
    print(found.scaling)
    for path in write_prediction(options.out, found):
        print(f"{path}: written")
    if options.sr:
        write_report(options.sr, found)
        print(f"{options.sr}: written; it names the patient and stays in the hospital")
    return 0
