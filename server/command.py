"""The command line of whoever hands a run's models on: `trifed bundle`."""

import argparse
from pathlib import Path
from typing import Any


def add_bundle(commands: Any) -> None:
    """`trifed bundle` with its actions."""
    bundle = commands.add_parser(
        "bundle",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="the frozen models of a run as one file",
        description="""A finished run's frozen models as one file, for hospitals that took part in
nothing before: they evaluate it with 'trifed evaluate', without a server or a network.""",
        epilog="example:\n  trifed bundle export runs/demo --out her2.bundle",
    )
    actions = bundle.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add_export(actions)
    add_show(actions)
    add_card(actions)
    add_onnx(actions)
    add_result(actions)


def add_export(actions: Any) -> None:
    """`trifed bundle export`."""
    export = actions.add_parser(
        "export",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="write a finished run's bundle",
        description="""Write everything that scores a patient to one file: the study file, the
radiomics score with its scale and grey levels, the clinical model, each network's best round, the
fusion layer and the thresholds. The same run gives the same file to the byte. Tell its hash to
whoever gets the file: by it they know that it is yours.""",
        epilog="example:\n  trifed bundle export runs/demo --out her2.bundle",
    )
    export.add_argument("run_folder", type=Path, metavar="RUN", help="a finished run's folder")
    export.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file")
    export.set_defaults(run=run_bundle_export)


def add_show(actions: Any) -> None:
    """`trifed bundle show`."""
    show = actions.add_parser(
        "show",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="what a bundle's file holds",
        description="""Check a bundle's file to the byte, and print its hash, who made it, and the
models in it. Nothing in the file is run; a file with one changed byte is refused.""",
        epilog="example:\n  trifed bundle show her2.bundle",
    )
    show.add_argument("file", type=Path, metavar="FILE", help="the bundle's file")
    show.set_defaults(run=run_bundle_show)


def add_card(actions: Any) -> None:
    """`trifed bundle card`."""
    card = actions.add_parser(
        "card",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="a model card of a bundle",
        description="""Write what a bundle is for, whom its models were trained on, how well they
did with intervals, thresholds and limits, as Markdown. How well they did stands in the run
that the bundle was exported from; without --run the card says that it does not know.""",
        epilog="example:\n  trifed bundle card her2.bundle --run runs/demo --out card.md",
    )
    card.add_argument("file", type=Path, metavar="FILE", help="the bundle's file")
    card.add_argument("--run", type=Path, dest="run_folder", metavar="RUN", help="the bundle's run")
    card.add_argument("--out", type=Path, required=True, metavar="CARD.md", help="the card's file")
    card.set_defaults(run=run_bundle_card)


def add_onnx(actions: Any) -> None:
    """`trifed bundle onnx`."""
    onnx = actions.add_parser(
        "onnx",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="a bundle's networks as ONNX files",
        description="""Write each network of a bundle as ONNX, for programs that know nothing of
trifed, and beside it as JSON what its input must be (phases, slices, spacing, HU window), what its
outputs mean, and the bundle's hash. Each file is run in onnxruntime on made-up input, one and three
patients at once; one that does not give what torch gives, to 1e-4, is removed. Needs the extra
'onnx'. Radiomics, clinical model and fusion layer are not in the files.""",
        epilog="example:\n  trifed bundle onnx her2.bundle --out networks/",
    )
    onnx.add_argument("file", type=Path, metavar="BUNDLE", help="the bundle's file")
    onnx.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where they go")
    onnx.set_defaults(run=run_bundle_onnx)


def add_result(actions: Any) -> None:
    """`trifed bundle add-result`."""
    add = actions.add_parser(
        "add-result",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="add an external hospital's result to a run",
        description="""Add what 'trifed evaluate' wrote at a hospital to the run that the bundle
was exported from: to results.json as another external site, and to the report. The numbers of
the run's own sites stay as they are. A result of another bundle, or one that was changed, is
refused.""",
        epilog="example:\n  trifed bundle add-result runs/demo result.json",
    )
    add.add_argument("run_folder", type=Path, metavar="RUN", help="a finished run's folder")
    add.add_argument("result", type=Path, metavar="RESULT", help="the result's file")
    add.set_defaults(run=run_bundle_add_result)


def run_bundle_add_result(options: argparse.Namespace) -> int:
    """Add the result and draw the report again."""
    from server.added_results import add_result
    from server.report import read_results, write_report

    found = add_result(options.run_folder, options.result)
    write_report(read_results(options.run_folder), options.run_folder / "report.html")
    print(f"{found.site}: {found.reply.description.n_cases} patients added")
    print(f"report: {options.run_folder / 'report.html'}")
    return 0


def run_bundle_export(options: argparse.Namespace) -> int:
    """Write the bundle and tell its hash."""
    from server.bundle_export import export_bundle

    found = export_bundle(options.run_folder, options.out)
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")
    print(f"bundle {found.bundle.hash()}")
    return 0


def run_bundle_show(options: argparse.Namespace) -> int:
    """Print what a bundle holds."""
    from server.bundle_export import bundle_lines
    from shared.bundle_file import read_bundle

    for line in bundle_lines(read_bundle(options.file)):
        print(line)
    return 0


def run_bundle_card(options: argparse.Namespace) -> int:
    """Write a bundle's model card."""
    from server.model_card import model_card
    from server.report import read_results
    from shared.bundle_file import read_bundle
    from shared.files import write_atomically

    results = read_results(options.run_folder) if options.run_folder else None
    card = model_card(read_bundle(options.file), results)
    write_atomically(options.out, card.encode())
    print(f"{options.out}: written")
    return 0


def run_bundle_onnx(options: argparse.Namespace) -> int:
    """Write the networks, and tell how far onnxruntime is from torch."""
    from server.bundle_onnx import export_onnx
    from shared.bundle_file import read_bundle
    from shared.research_use import USE

    for written in export_onnx(read_bundle(options.file), options.out):
        told = ", ".join(f"{name} {value:.1e}" for name, value in written.differences.items())
        print(f"{written.file}: {written.file.stat().st_size:,} bytes")
        print(f"  largest difference from torch, relative: {told}")
    print(USE)
    return 0
