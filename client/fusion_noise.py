"""The fusion layer's sums with noise: what patients add, and noise from the operating system."""

import math

import numpy as np

from client.discrete_gaussian import discrete_gaussian
from client.workbench import Workbench
from shared.checks import Floats, Ints
from shared.errors import CodecError, PolicyError
from shared.fusion_sums import NO_FOLD
from shared.grid_noise import UNIT
from shared.noised_sums import patients_parts
from shared.stages.fuse import NoisedRequest


def noised_sums(
    design: Floats, labels: Ints, beta: Floats, *, clip_norm: float, noise: float
) -> Ints:
    """The patients' parts added up, with noise in each number, ``(k + k (k + 1) / 2,)``.

    The sums of two cohorts of which one has one patient more differ by at most `UNIT` in length,
    and the noise's standard deviation is `noise` of that.

    Args:
        design: Rows ``(n, k)``, with the column of ones first; of any length.
        labels: ``(n,)``, 0 or 1.
        beta: Coefficients ``(k,)``, of any size.
    """
    sums = patients_parts(design, labels, beta, clip_norm).sum(axis=0)
    return np.asarray(sums + discrete_gaussian(len(sums), math.ceil(noise * UNIT)))


def check_noised(request: NoisedRequest, bench: Workbench) -> None:
    """Refuse what the study does not ask.

    Raises:
        PolicyError: If the study fits the layer in another way, or has no such step.
        CodecError: If it is not about one layer of all cases.
    """
    fusion = bench.study.fusion
    if fusion.exchange != "statistics+dp":
        raise PolicyError("the study's fusion.exchange does not ask for sums with noise")
    if not 1 <= request.step <= fusion.dp.steps:
        raise PolicyError(
            f"step {request.step} of the fusion layer was asked for; fusion.dp.steps of the study "
            f"is {fusion.dp.steps}"
        )
    if request.layer.fold.tolist() != [NO_FOLD]:
        raise CodecError("sums with noise are told of one layer of all cases")
