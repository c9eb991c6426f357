"""The command line of the objection list: `trifed site objections`."""

import argparse
from pathlib import Path
from typing import Any

LEFT = """What has left the hospital cannot be called back: a model that was trained with a
patient's data stands as it is. Tell the coordinator of the runs above if they shall be repeated.
Pages, tables and predictions that people here made themselves are for them to remove. Start the
site service again: until then it answers nothing. What was told before with the patient it then
tells of no cohort that lacks only this one (E_DIFF), lest somebody subtract: docs/privacy.md says
what may be done. Nothing was sent."""


def add_objections(actions: Any) -> None:
    """`trifed site objections`."""
    objections = actions.add_parser(
        "objections",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="patients who object: where they took part, and what is removed",
        description="""objections.csv beside the site file lists the patients who object to the use
of their data: one column, patient_id, with ids as the manifest writes them. Nothing of theirs is
read any more, by no command. This says for each of them in which runs and evaluations their data
took part, and removes what the cache holds of them. The list, and how many are on it, stays in the
hospital. Nothing is sent.""",
        epilog="example:\n  trifed site objections site.yaml",
    )
    objections.add_argument("site_file", type=Path, metavar="SITE.yaml", help="the site file")
    objections.set_defaults(run=run_objections)


def run_objections(options: argparse.Namespace) -> int:
    """Remove, and say what was found."""
    from client.objections.forget import forget, removal_lines
    from client.objections.listed import NAME, read_objections
    from client.settings import load_site_settings

    settings = load_site_settings(options.site_file)
    folder = options.site_file.resolve().parent
    objections = read_objections(folder)
    if not len(objections):
        print(f"{folder / NAME}: nobody objects")
        return 0
    removal = forget(objections, folder=folder, cache=folder / settings.cache)
    for line in (*removal_lines(removal), LEFT):
        print(line)
    return 0
