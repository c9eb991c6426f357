"""The command line of the coordinator: `trifed server`, `report`, `study` and `bundle`."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FAILED_FOR_S = 15
"""A study whose process was lost is begun again within seconds: only then it has failed."""


def add_commands(commands: Any) -> None:
    """`trifed server`, `trifed report`, `trifed study` and `trifed bundle`."""
    from server.command import add_bundle

    add_server(commands)
    add_report(commands)
    add_study(commands)
    add_bundle(commands)


def add_server(commands: Any) -> None:
    """`trifed server` with its actions."""
    from server.deploy.command import add_deploy
    from server.heads.command import add_heads
    from server.joining.command import add_joining

    server = commands.add_parser(
        "server",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="the server of a study between hospitals",
        description="""Make the server of one study, let hospitals join it, and run it. Each
hospital gets an invitation as one file, and sends back one with the public half of its own key.""",
        epilog="""examples:
  trifed server init my.yaml --out server --address fl.example.org:443
  trifed server invite server
  trifed server accept server site_a.trifed-answer
  trifed server sites server
  trifed server start server""",
    )
    actions = server.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add_joining(actions)
    add_deploy(actions)
    add_heads(actions)


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
        description="""Look at a run's folder, also while the run goes on. Nothing that the run has
saved is touched. Of a run over a network: who is there, who is waited for, and how to stop it.""",
        epilog="""examples:
  trifed study show runs/demo
  trifed study track runs/demo --to tensorboard
  trifed study status server/
  trifed study stop server/""",
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
    add_track(actions)
    add_status(actions)
    add_stop(actions)


def add_status(actions: Any) -> None:
    """`trifed study status`."""
    status = actions.add_parser(
        "status",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="of a run over a network: who is there, and who is waited for",
        description="""What the server does now, whom it waits for and since when, how far each
site is, how many sites were in each round, and what went wrong. All of it stands in
DIR/run/status.json, which the server writes at every change and four times a minute; an older file
means that the server computes, or does not run.""",
        epilog="""examples:
  trifed study status server/
  trifed study status server/ --follow      until the run is over, or Ctrl-C

Exit code 1 if the run failed, else 0.""",
    )
    status.add_argument("folder", type=Path, metavar="DIR", help="the server's folder, or a run's")
    form = status.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="the file as it is")
    form.add_argument("--follow", action="store_true", help="look every second")
    status.set_defaults(run=run_study_status)


def add_stop(actions: Any) -> None:
    """`trifed study stop`."""
    stop = actions.add_parser(
        "stop",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="of a run over a network: let the server stop",
        description="""Ask the server to stop. It does within a second while it waits for sites,
and otherwise before its next question. Nothing is lost: what was done is saved, sites that are at
work finish and keep their answers, and 'trifed server start' goes on.""",
        epilog="example:\n  trifed study stop server/",
    )
    stop.add_argument("folder", type=Path, metavar="DIR", help="the server's folder, or a run's")
    stop.set_defaults(run=run_study_stop)


def add_track(actions: Any) -> None:
    """`trifed study track`."""
    track = actions.add_parser(
        "track",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="a run's numbers for TensorBoard or MLflow",
        description="""Write each network's rounds (loss, loss and AUC on tune patients, bytes
moved) and, of a finished run, each model's test results to RUN/tracking: TensorBoard's event files,
or MLflow's SQLite file. All of it stands in the run's own files; nothing of single sites is
written, and nothing is sent. What is there already is not written twice: the same call may be made
while the run goes on, after it, and after a --resume. Needs the extra 'tracking'.""",
        epilog="""examples:
  trifed study track runs/demo --to tensorboard --follow     beside the run, until it is finished
  tensorboard --logdir runs/demo/tracking/tensorboard        to look at it
  trifed study track runs/demo --to mlflow                   once
  mlflow ui --backend-store-uri sqlite:///runs/demo/tracking/mlflow.db   where all of MLflow is""",
    )
    track.add_argument("run_folder", type=Path, metavar="RUN", help="a run's folder")
    track.add_argument("--to", choices=("tensorboard", "mlflow"), required=True, help="for whom")
    track.add_argument(
        "--follow", action="store_true", help="look every ten seconds until the run is finished"
    )
    track.set_defaults(run=run_study_track)


def run_study_show(options: argparse.Namespace) -> int:
    """Print where the run stands."""
    from server.run_state import state_lines

    for line in state_lines(options.run_folder):
        print(line)
    return 0


def run_study_status(options: argparse.Namespace) -> int:
    """Print a run's status, once or until it is over; 1 if it failed."""
    import time
    from datetime import UTC, datetime

    from rich.console import Console
    from rich.live import Live

    from server.status import OVER, read_status, status_file
    from server.status_table import status_table

    file = status_file(options.folder)
    status = read_status(file)
    if options.json:
        print(file.read_text(encoding="utf-8"))
    elif not options.follow:
        Console().print(status_table(status, datetime.now(UTC)))
    else:
        with Live(status_table(status, datetime.now(UTC)), auto_refresh=False) as live:
            left_s = FAILED_FOR_S
            while status.phase not in OVER or (status.phase == "failed" and left_s > 0):
                time.sleep(1.0)
                status = read_status(file)
                left_s = left_s - 1 if status.phase == "failed" else FAILED_FOR_S
                live.update(status_table(status, datetime.now(UTC)), refresh=True)
    return int(status.phase == "failed")


def run_study_stop(options: argparse.Namespace) -> int:
    """Leave the request to stop."""
    from datetime import UTC, datetime

    from server.status import read_status, status_file
    from server.status_table import age_warning
    from server.stop_request import request_stop

    file = status_file(options.folder)
    status = read_status(file)
    request_stop(file.parent, status)
    print(age_warning(status, datetime.now(UTC)) or "The server stops within a few seconds.")
    return 0


def run_study_track(options: argparse.Namespace) -> int:
    """Track the run, and tell when something was new."""
    import time

    from server.tracking.track import FOLDER, PAUSE_S, follow, track

    def tell(new: int, total: int) -> None:
        if new or not options.follow:
            print(f"{options.run_folder / FOLDER}: {new} new numbers, {total} in all", flush=True)

    if options.follow:
        follow(options.run_folder, options.to, tell, lambda: time.sleep(PAUSE_S))
    else:
        tell(*track(options.run_folder, options.to))
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
