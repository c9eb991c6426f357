"""What is worth knowing of a table of features that a site brings instead of images."""

from collections.abc import Sequence

import numpy as np

from client.cohort.copies import is_telling
from client.cohort.feature_table import feature_rows
from client.cohort.manifest import Case
from client.settings import SiteSettings
from shared.config import Study

MOST_MISSING = 0.2
ORIGINS = {
    "trifed": "extracted by trifed with the study's settings",
    "elsewhere": "from elsewhere; that they are the study's features is the hospital's word",
}


def brought(settings: SiteSettings, study: Study) -> str:
    """Which table the features are brought in, and where it is from; empty for images."""
    if settings.data.features is None:
        return ""
    if study.radiomics.mode == "table":
        return f"features are brought as a table ({settings.data.features})"
    origin = ORIGINS[settings.data.features_from]
    return f"features are brought as a table ({settings.data.features}), {origin}"


def feature_findings(cases: Sequence[Case], settings: SiteSettings, study: Study) -> list[str]:
    """Findings of the table as a whole; none where the site brings images or nobody is usable."""
    if settings.data.features is None or not cases:
        return []
    names = tuple(cases[0].features)
    table = feature_rows(cases, names)
    there = ~np.isnan(table)
    texts = [f"feature table: {len(names)} features of {len(cases)} patients; no image is opened."]
    if study.branches:
        texts.append(
            "without images these patients neither train nor test the branches: "
            f"{', '.join(branch.name for branch in study.branches)}."
        )
    blank = 1 - there.mean(axis=0)
    texts += _listed(names, (blank > MOST_MISSING) & (blank < 1), "are often blank")
    texts += _listed(names, blank == 1, "are blank for every patient")
    filled = np.where(there, table, table[there.argmax(axis=0), np.arange(len(names))])
    constant = there.any(axis=0) & (np.ptp(filled, axis=0) == 0)
    texts += _listed(names, constant, "have one value for every patient, and say nothing")
    return texts + _equal_rows(cases, table)


def _listed(names: Sequence[str], which: np.ndarray, what: str) -> list[str]:
    found = [name for name, yes in zip(names, which, strict=True) if yes]
    if not found:
        return []
    shown = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
    return [f"feature table: {len(found)} of {len(names)} features {what} ({shown})."]


def _equal_rows(cases: Sequence[Case], table: np.ndarray) -> list[str]:
    """That rows of categories and counts are equal: it may be chance, or one patient twice."""
    first: dict[bytes, Case] = {}
    pairs = []
    for case, row in zip(cases, table, strict=True):
        earlier = first.setdefault(row.tobytes(), case)
        if earlier is not case and not is_telling(row):
            pairs.append(f"{case.patient_id} as {earlier.patient_id}")
    if not pairs:
        return []
    shown = ", ".join(pairs[:3]) + (", ..." if len(pairs) > 3 else "")
    return [f"feature table: {len(pairs)} patients have the row of another ({shown}). By chance?"]
