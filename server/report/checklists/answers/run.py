"""A finished run as the checklists ask it: its results, and its study file read again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from server.report.words import Results, evaluated, name, with_interval
from shared.config import Study
from shared.errors import ConfigError
from shared.strict_yaml import parse_settings

SETTINGS = "report.html#settings"
"""Where the study file, every default written out, is printed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the run says, and where it is printed."""

    text: str
    where: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """The results, and the study's settings; None where this release cannot read them."""

    results: Results
    settings: Study | None

    def part(self, key: str) -> Mapping[str, Any]:
        """A part of the results; empty where there is none."""
        return self.results.get(key) or {}


Answerer = Callable[[Run], Answer | None]


def run_of(results: Results) -> Run:
    """The run behind some results."""
    try:
        settings = parse_settings(results.get("settings_yaml") or "", Study, name="study.yaml")
    except ConfigError:
        settings = None
    return Run(results, settings)


def of_settings(answer: Callable[[Run, Study], Answer | None]) -> Answerer:
    """An answer that needs the settings: None where this release cannot read them."""

    def asked(run: Run) -> Answer | None:
        return None if run.settings is None else answer(run, run.settings)

    return asked


def aucs(results: Results, split: str) -> str:
    """Each model's AUC on a split: ``Clinical .70 (.44–.95), ...``; empty where there is none."""
    found = evaluated(results, split)
    return ", ".join(
        f"{name(model)} {with_interval(value.get('auc'), value.get('auc_ci'))}"
        for model, value in found.items()
    )
