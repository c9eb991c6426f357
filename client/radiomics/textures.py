"""PyRadiomics' texture classes on levels that are packed once; their formulas stay PyRadiomics'.

What is replaced is how a class is made, since its own constructor would discretise once more and
copy images, and how its matrix is counted.
"""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.radiomics import matrices
from client.radiomics.cooccurrence import glcm_members
from client.radiomics.matrices import PackedLevels

Members = dict[str, Any]


@cache
def class_on_levels(family: str, original: Any) -> Any:
    """A texture class that is made of levels, their mask and the same as `PackedLevels`."""
    known = original.getFeatureNames()

    def take(
        self: Any, levels: NDArray[np.int64], mask: NDArray[np.bool_], packed: PackedLevels
    ) -> None:
        self.imageArray, self.maskArray, self.packed = levels, mask, packed
        self.settings, self.featureValues, self.voxelBased = {}, {}, False
        self.coefficients = {"grayLevels": packed.present, "Ng": int(packed.present[-1])}
        self.symmetricalGLCM, self.weightingNorm = True, None
        self.logger = logging.getLogger(original.__module__)

    members: Members = {
        "__init__": take,
        "getFeatureNames": classmethod(lambda _: known),
        "__module__": original.__module__,
    }
    return type(original.__name__, (original,), members | MEMBERS[family](original))


def _glrlm_members(original: Any) -> Members:
    def matrix(self: Any) -> Any:
        if not matrices.has_lines(self.packed):
            return original._calculateMatrix(self)
        counts = matrices.run_lengths(self.packed)[None]
        self.coefficients["Nr"] = counts.sum(axis=(1, 2))
        return counts

    return {"_calculateMatrix": lambda self, _voxels=None: matrix(self)}


def _glszm_members(_original: Any) -> Members:
    def count(self: Any, _voxels: Any = None) -> None:
        counts, sizes = matrices.zones(self.packed)
        self.P_glszm = counts[None]
        self.coefficients |= _vectors(self.P_glszm, self.packed, sizes, name="ps")
        self.coefficients["Np"] = np.array([float(self.packed.inside.size)])

    return {"_initCalculation": count}


def _gldm_members(_original: Any) -> Members:
    def matrix(self: Any, _voxels: Any = None) -> Any:
        counts = matrices.dependences(self.packed)
        used = np.flatnonzero(counts.any(axis=0))
        counts = counts[None][:, :, used]
        self.coefficients |= _vectors(counts, self.packed, used + 1, name="pd")
        return counts

    return {"_calculateMatrix": matrix}


def _vectors(
    counts: NDArray[np.float64], packed: PackedLevels, columns: NDArray[np.int64], *, name: str
) -> dict[str, NDArray[np.float64]]:
    """What PyRadiomics derives from a matrix: its sums, and what its rows and columns stand for."""
    return {
        "Nz": counts.sum(axis=(1, 2)),
        "pg": counts.sum(axis=2),
        name: counts.sum(axis=1),
        "ivector": packed.present.astype(np.float64),
        "jvector": columns.astype(np.float64),
    }


def _ngtdm_members(_original: Any) -> Members:
    return {
        "_calculateMatrix": lambda self, _voxels=None: matrices.tone_differences(self.packed)[None]
    }


MEMBERS: dict[str, Callable[[Any], Members]] = {
    "glcm": glcm_members,
    "glrlm": _glrlm_members,
    "glszm": _glszm_members,
    "gldm": _gldm_members,
    "ngtdm": _ngtdm_members,
}
