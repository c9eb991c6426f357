"""What a stage's server half works with: the study file, the sites, the folder, the listener."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from server.federation import Federation, WithoutFold
from server.progress import Progress
from server.study import Study
from server.study_folder import StudyFolder
from shared.config import Study as Settings
from shared.errors import StateError


@dataclass(frozen=True, slots=True)
class Coordinator:
    """One run's fixed surroundings."""

    settings: Settings
    federation: Federation
    folder: StudyFolder
    out: Path
    progress: Progress

    @property
    def training(self) -> tuple[str, ...]:
        """Names of the sites that train, sorted."""
        return tuple(sorted(self.settings.sites.training))

    @property
    def external(self) -> tuple[str, ...]:
        """Names of the external sites, sorted."""
        return tuple(sorted(self.settings.sites.external))

    def without_fold(self, held_out: int) -> "Coordinator":
        """The same, but whatever is asked of training cases leaves this outer fold out."""
        return replace(self, federation=WithoutFold(self.federation, held_out))

    def save(self, study: Study, **slots: Any) -> Study:
        """Fill slots of the study and save them."""
        filled = replace(study, **slots)
        self.folder.save(study, filled)
        return filled


def need(value: Any, stage: str) -> Any:
    """A slot that an earlier stage must have filled.

    Raises:
        StateError: If it is empty, which means that stages ran out of order.
    """
    if value is None:
        raise StateError(f"{stage} must run first; the run's folder was tampered with.")
    return value
