"""The command line of the coordinator: `trifed report`, `trifed study` and `trifed bundle`."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def add_commands(commands: Any) -> None:
    """`trifed report`, `trifed study` and `trifed bundle`."""
    add_report(commands)
    add_study(commands)
    add_bundle(commands)


def add_report(commands: Any) -> None:
    """`trifed report`."""
    parser = commands.add_parser(
        "report",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="draw a run's report and figures again",
        description="""Draw the report from results.json, and baselines.json where there is one; no
patient data is read. What a paper needs goes into a folder beside it:

  tables/<name>.csv               each table, with all digits; the ends of intervals in columns
  tables.docx                     all tables with captions and notes, to edit in Word
  figures/<name>.svg, .pdf, .png  each figure, the PNG with 300 dots per inch
  checklists/<name>.csv           TRIPOD+AI, CLEAR, METRICS and CLAIM 2024: what the run knows is
                                  filled in, what only people know is MISSING until it stands in
                                  study_facts.yaml (--facts, or in RUN); checklists.docx is the same
  draft.md                        draft Methods and Results; every number with its key
  captions.txt                    titles, captions and notes, in the order of the report
  numbers.json                    every number: interval, n, how it was obtained, where it is""",
        epilog="""examples:
  trifed report runs/demo                  report.html, and the folder runs/demo/report
  trifed report runs/demo --out paper/     the same, with tables and figures in paper/
  trifed report runs/demo --facts-template study_facts.yaml    what the checklists still lack
  trifed report runs/demo --facts study_facts.yaml             with what you filled in there""",
    )
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="a run's folder")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where tables and figures go (RUN/report)"
    )
    facts = parser.add_mutually_exclusive_group()
    facts.add_argument(
        "--facts", type=Path, metavar="FILE", help="what people know (RUN/study_facts.yaml)"
    )
    facts.add_argument(
        "--facts-template",
        type=Path,
        metavar="FILE",
        help="only write a file to fill in, with every fact that the checklists lack",
    )
    parser.set_defaults(run=run_report)


def add_study(commands: Any) -> None:
    """`trifed study` with its actions."""
    study = commands.add_parser(
        "study",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="where a run stands",
        description="Look at a run's folder, also while the run goes on; nothing there is touched.",
        epilog="example:\n  trifed study show runs/demo",
    )
    actions = study.add_subparsers(title="commands", required=True, metavar="COMMAND")
    show = actions.add_parser(
        "show",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="stages, rounds and results in the terminal",
        description="""Which stages are done and when, how far each network's training is, which of
its rounds is the best on tune patients, how much was sent for it, and how the models did.""",
        epilog="""examples:
  trifed study show runs/demo
  watch -n 60 trifed study show runs/demo      while it goes on""",
    )
    show.add_argument("run_folder", type=Path, metavar="RUN", help="a run's folder")
    show.set_defaults(run=run_study_show)


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


def run_study_show(options: argparse.Namespace) -> int:
    """Print where the run stands."""
    from server.run_state import state_lines

    for line in state_lines(options.run_folder):
        print(line)
    return 0


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


def run_report(options: argparse.Namespace) -> int:
    """Draw the report again, and write its tables and figures as files."""
    from rich.console import Console

    from server.report import find_facts, read_results, write_export, write_report

    results = read_results(options.run_folder)
    facts = find_facts(options.run_folder, options.facts)
    if options.facts_template:
        return write_template(results, facts, options.facts_template)
    write_report(results, options.run_folder / "report.html")
    print(f"report: {options.run_folder / 'report.html'}")
    out = options.out or options.run_folder / "report"
    with Console(stderr=True).status("tables and figures") as status:
        found = write_export(results, out, status.update, facts=facts)
    for line in found.lines():
        print(line)
    return 0


def write_template(results: Mapping[str, Any], facts: Mapping[str, str], file: Path) -> int:
    """Write what the checklists lack as a file to fill in; a file that is there is kept."""
    from server.report import facts_template
    from shared.errors import StateError
    from shared.files import write_atomically

    if file.exists():
        raise StateError(f"{file} is there already; name another file, or remove it.")
    write_atomically(file, facts_template(results, facts).encode())
    print(f"facts to fill in: {file}")
    return 0
