"""A small bundle without networks, made by hand."""

import numpy as np

from shared.bundle_file import BundleFile, Maker
from shared.config import Study, digest
from shared.models import (
    Bundle,
    ClinicalModel,
    Extraction,
    FusionModel,
    RadiomicsModel,
    Scale,
)
from tests.conftest import changed

FEATURES = ("excretory__original__firstorder__Mean", "excretory__original__firstorder__Maximum")


def bundle_without_networks(study: Study, **changes: object) -> BundleFile:
    """The study with its branches dropped, and models with numbers of no meaning.

    Args:
        changes: Fields of the bundle that are put in the place of the right ones.
    """
    content = study.model_copy(update={"branches": ()})
    plain = changed(content, fusion={"inputs": ["radiomics_score", "clinical"]})
    scale = Scale.of(Extraction({}), FEATURES, np.array([80.0, 110.0]), np.array([9.0, 12.0]))
    columns = ("radiomics_score", *plain.clinical.predictors)
    parts: dict[str, object] = {
        "study_hash": digest(plain),
        "clinical": ClinicalModel(
            plain.clinical.predictors, np.array([0.5, 66.0]), np.array([-1.0, 0.7, 0.01])
        ),
        "radiomics": RadiomicsModel(scale, np.array([0.4, -0.1]), 0.05, np.array([0.1, 1.3])),
        "network_hashes": {},
        "projections": (),
        "fusion": FusionModel(
            columns, np.array([0.0, 0.5, 66.0]), np.ones(3), np.array([0.1, 1.0, 0.3, 0.02])
        ),
        "thresholds": {"clinical": 0.5, "radiomics": 0.25, "fusion": 0.431},
    }
    maker = Maker("0.1.0", "c" * 64, {"numpy": "2.0"}, synthetic=True)
    return BundleFile(plain, Bundle(**(parts | changes)), {}, maker)  # type: ignore[arg-type]
