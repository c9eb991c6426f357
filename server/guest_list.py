"""Which guests are still to be asked: hospitals that the study does not name."""

from pathlib import Path

from server.joining.folder import ServerFolder

FILES, GUESTS = "external-results", "guest-results"
WAYS = {FILES: "file", GUESTS: "guest"}
"""The run's folders of results that were added to it, and how they came."""


def added_sites(run: Path) -> set[str]:
    """The sites whose results were added to a run, by whatever way."""
    return {path.stem for folder in WAYS for path in (run / folder).glob("*.json")}


def guests_to_ask(folder: ServerFolder, run: Path) -> list[str]:
    """The guests whose keys were accepted and of whom there is no result yet."""
    done = added_sites(run)
    return [name for name in folder.guests if name not in done and folder.accepted(name)]
