"""A cohort's description as it would leave, by either kind of site."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from client.forecast.crowd import Crowd
from client.policy.settings import Policy
from client.settings import SiteSettings
from client.stages.describe_cohort import described
from shared.acquisition import NOT_STATED, SPACINGS, Acquisition, Census
from shared.config import Study
from shared.moments import moments
from shared.stages.describe_cohort import Description, SplitCount

KINDS = ("phase", "mask", "file", "label", "clinical", "image", "features")
LETTERS_OF_A_VALUE, CENSUSES = 64, 3


def described_by(crowd: Crowd, settings: SiteSettings, splits: Sequence[str]) -> Description:
    """The description of a crowd."""
    study, n = crowd.study, crowd.n
    census = Census({NOT_STATED: n}, 0)
    spacing = moments(SPACINGS, np.ones((n, len(SPACINGS))))
    images = Acquisition(n, spacing, census, census, census)
    return Description(
        n_cases=n,
        splits=dict.fromkeys(splits, SplitCount(n, n)),
        missing_phases=dict.fromkeys(study.phases, n),
        exclusions=dict.fromkeys(KINDS, n),
        variables=crowd.class_moments(described(study)),
        features_from="elsewhere",
        acquisition={} if settings.data.features else dict.fromkeys(study.phases, images),
    )


def text_of_images(study: Study, settings: SiteSettings, policy: Policy) -> Callable[[int], int]:
    """Bytes in which values of the headers may be told, by the number of patients.

    A value is told of `min_cell` images at least.
    """
    each = LETTERS_OF_A_VALUE * CENSUSES * len(study.phases)
    by_patient = math.ceil(each / policy.release.min_cell)
    return lambda n: 0 if settings.data.features else each + by_patient * n
