"""Why a score may be of no worth for a patient, in words: from what the bundle knows of training.

Nothing here changes a score.
"""

import numpy as np

from client.check.findings import findings_of
from client.predict.unlike import unlike
from client.prepare import check_images
from client.site import Site, silent
from shared.bundle_file import BundleFile
from shared.errors import ImageError


def doubts_of(found: BundleFile, site: Site, columns: np.ndarray) -> tuple[str, ...]:
    """Every warning about the one patient of a site, the gravest first.

    Args:
        columns: The patient's fusion columns, ``(k,)``, NaN where there is none.

    Raises:
        ImageError: If an image cannot be read a second time.
    """
    return (
        *unlike(found, site, columns),
        *training_patient(found, site),
        *missing_parts(site),
        *blank_predictors(found, site),
        *odd_images(site),
    )


def training_patient(found: BundleFile, site: Site) -> list[str]:
    """A hospital that trained the models may have trained them on this patient."""
    if site.name not in found.study.sites.training:
        return []
    return [
        f"{site.name} trained these models. If the patient was among the training patients, the "
        "score is not that of a new patient, and looks better than it is."
    ]


def missing_parts(site: Site) -> list[str]:
    """Phases that the patient lacks, where the study allows it."""
    lacking = site.lacking(site.external_test.cases[0])
    if not lacking:
        return []
    return [
        f"the phase{'s' if len(lacking) > 1 else ''} {', '.join(lacking)} is missing: networks "
        "that need it give no score, its radiomics features and the fusion layer's columns are "
        "taken at their training mean."
    ]


def blank_predictors(found: BundleFile, site: Site) -> list[str]:
    """Clinical predictors that were not given."""
    clinical = found.bundle.clinical
    row = site.clinical(site.external_test, clinical.predictors)[0]
    return [
        f"{name} is not known; the mean of the training patients, {mean:.3g}, was taken."
        for name, value, mean in zip(clinical.predictors, row, clinical.means, strict=True)
        if np.isnan(value)
    ]


def odd_images(site: Site) -> list[str]:
    """What `trifed site check` says of the patient's images, and images that stand twice.

    Raises:
        ImageError: If an image cannot be read.
    """
    if site.features_from != "images":
        return []
    case = site.external_test.cases[0]
    checked = check_images([case], site.study, threads=1, progress=silent, isolated=False)
    outcome = checked[case.patient_id]
    if outcome.problem is not None:
        raise ImageError(outcome.problem)
    first: dict[str, str] = {}
    texts = []
    for phase, measures in outcome.measures.items():
        earlier = first.setdefault(measures.content, phase)
        if earlier != phase:
            texts.append(f"the phases {earlier} and {phase} are one image. Was it given twice?")
    return texts + findings_of(outcome.measures)
