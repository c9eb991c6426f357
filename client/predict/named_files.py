"""A new patient's case from files and values that are named on the command line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from client.cohort.manifest import Case
from client.cohort.tables import number_in
from shared.config import Split, Study
from shared.errors import CohortError, ConfigError, ManifestError
from shared.phases import Phase, phase_named

SPLIT: Split = "external_test"
"""The new patient's split: models are only applied to it."""


@dataclass(frozen=True, slots=True)
class NamedFiles:
    """A patient's files and clinical values as they were given, each ``NAME=VALUE``.

    Attributes:
        masks: ``PHASE=PATH``, or one path for the phases that have none of their own.
        roi: The tumour's name in a DICOM mask of several.
        resample: Whether a mask may be drawn on another grid than its volume's.
    """

    images: tuple[str, ...]
    masks: tuple[str, ...]
    clinical: tuple[str, ...] = ()
    roi: str = ""
    resample: bool = False


def assigned(texts: Sequence[str], option: str) -> dict[str, str]:
    """Name to value of options ``NAME=VALUE``.

    Raises:
        ConfigError: If one has no name or value, or a name stands twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise ConfigError(f"{option} must be NAME=VALUE, not '{text}'.")
        if name in found:
            raise ConfigError(f"{option} {name} stands twice. Keep one.")
        found[name] = value
    return found


def case_of(wanted: NamedFiles, study: Study) -> Case:
    """The case, without a label.

    Raises:
        ConfigError: If a phase or predictor is not the bundle's, or a phase has no mask.
        ManifestError: If a file is not there.
        CohortError: If a phase is missing that the models must have.
    """
    images = _by_phase(assigned(wanted.images, "--image"), study, "--image")
    refuse_missing(study, [phase for phase in study.phases if phase not in images])
    own = [text for text in wanted.masks if phase_named(text.partition("=")[0])]
    common = [text for text in wanted.masks if text not in own]
    if len(common) > 1:
        raise ConfigError("--mask names two masks for all phases; give each as PHASE=PATH.")
    masks = dict.fromkeys(images, _existing(common[0], "--mask")) if common else {}
    masks |= _by_phase(assigned(own, "--mask"), study, "--mask")
    for phase in images:
        if phase not in masks:
            raise ConfigError(
                f"no mask for the phase '{phase}'. Add --mask {phase}=PATH, or --mask PATH for "
                "all phases."
            )
    return Case(
        patient_id="the patient",
        line=0,
        split=SPLIT,
        label=None,
        images=images,
        masks={phase: masks[phase] for phase in images},
        clinical=_clinical(assigned(wanted.clinical, "--clinical"), study),
        roi=wanted.roi,
        resample_mask=wanted.resample,
    )


def _by_phase(given: Mapping[str, str], study: Study, option: str) -> dict[Phase, Path]:
    """Paths by phase in the study's order.

    Raises:
        ConfigError: If a word is no phase of the bundle, or two words name one.
    """
    found: dict[Phase, Path] = {}
    for word, text in given.items():
        phase = phase_named(word)
        if phase is None or phase not in study.phases:
            raise ConfigError(
                f"{option} {word}=...: the bundle knows no such phase; its phases are "
                f"{', '.join(study.phases)}."
            )
        if phase in found:
            raise ConfigError(f"{option} names the phase '{phase}' twice. Keep one.")
        found[phase] = _existing(text, f"{option} {word}=")
    return {phase: found[phase] for phase in study.phases if phase in found}


def _existing(text: str, option: str) -> Path:
    path = Path(text).resolve()
    if not path.exists():
        raise ManifestError(f"{option}{text}: there is no such file or folder. Check the path.")
    return path


def _clinical(given: Mapping[str, str], study: Study) -> dict[str, float]:
    """The predictors' values, NaN for those that were not given."""
    known = study.clinical.predictors
    strange = [name for name in given if name not in known]
    if strange:
        raise ConfigError(
            f"--clinical {strange[0]}=...: the bundle knows no such predictor; its predictors are "
            f"{', '.join(known)}."
        )
    values: dict[str, float] = {}
    for name in known:
        number = number_in(given.get(name, ""))
        if number is None:
            raise ConfigError(
                f"--clinical {name}={given[name]}: must be a number with a decimal point, yes or "
                "no. Leave it out where it is not known."
            )
        values[name] = number
    return values


def refuse_missing(study: Study, lacking: Sequence[Phase]) -> None:
    """Refuse a patient without a phase, where every training patient had all.

    Raises:
        CohortError: Saying which, and what to do.
    """
    if lacking and (study.cohort.missing_phase == "stop" or len(lacking) == len(study.phases)):
        raise CohortError(
            f"the phase '{lacking[0]}' is missing. The bundle's models were trained on patients "
            f"with all of {', '.join(study.phases)} and cannot score without it. Give its image: "
            f"--image {lacking[0]}=PATH, or the column image_{lacking[0]} of the manifest."
        )
