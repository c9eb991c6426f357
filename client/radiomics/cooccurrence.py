"""PyRadiomics' class `glcm` with the same sums in fewer steps; its formulas stay PyRadiomics'.

Its steps take most of the time where grey levels are many: the count of the matrix, whole-number
powers by the mathematical library, one mask of the matrix for each diagonal, and the levels' sum in
MCC.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.radiomics.matrices import cooccurrences

MANY_LEVELS = 32


def glcm_members(original: Any) -> dict[str, Any]:
    """The methods to replace in the class `glcm`; each gives what PyRadiomics' own gives."""

    def matrix(self: Any, _voxels: Any = None) -> Any:
        counts = cooccurrences(self.packed)
        counts += counts.transpose(1, 0, 2).copy()
        n_pairs = counts.sum(axis=(0, 1))
        if n_pairs.size > 1:
            counts, n_pairs = counts[:, :, n_pairs > 0], n_pairs[n_pairs > 0]
        return (counts / np.where(n_pairs == 0, np.nan, n_pairs))[None]

    def coefficients(self: Any) -> None:
        joint = self.P_glcm
        n_levels, eps = self.coefficients["Ng"], np.spacing(1)
        levels = self.coefficients["grayLevels"].astype(np.int64)
        i, j = np.meshgrid(levels.astype(float), levels.astype(float), indexing="ij", sparse=True)
        total, apart = levels[:, None] + levels, np.abs(levels[:, None] - levels)
        self.coefficients |= {
            "eps": eps,
            "i": i,
            "j": j,
            "kValuesSum": np.arange(2, 2 * n_levels + 1, dtype=float),
            "kValuesDiff": np.arange(n_levels, dtype=float),
            "px": joint.sum(axis=2, keepdims=True),
            "py": joint.sum(axis=1, keepdims=True),
            "ux": (i[None, :, :, None] * joint).sum(axis=(1, 2), keepdims=True),
            "uy": (j[None, :, :, None] * joint).sum(axis=(1, 2), keepdims=True),
            "pxAddy": _sums_by(total - 2, joint, 2 * n_levels - 1),
            "pxSuby": _sums_by(apart, joint, n_levels),
            "HXY": -(joint * np.log2(joint + eps)).sum(axis=(1, 2)),
        }

    def cluster(self: Any, *, power: int) -> Any:
        known = self.coefficients
        off = (known["i"] + known["j"])[None, :, :, None] - known["ux"] - known["uy"]
        squares = off * off
        moments = (self.P_glcm * squares * (squares if power == 4 else off)).sum(axis=(1, 2))
        return np.nanmean(moments, axis=1)

    def maximal_correlation(self: Any) -> Any:
        if self.P_glcm.shape[1] < MANY_LEVELS:
            return original.getMCCFeatureValue(self)
        joint = np.ascontiguousarray(self.P_glcm[0].transpose(2, 0, 1))
        rows, columns = joint.sum(axis=2, keepdims=True), joint.sum(axis=1, keepdims=True)
        shares = joint / (rows * columns + self.coefficients["eps"])
        eigenvalues = np.linalg.eigvals(shares @ joint.transpose(0, 2, 1))
        eigenvalues.sort()
        return np.nanmean(np.sqrt(eigenvalues[:, -2])).real

    return {
        "_calculateMatrix": matrix,
        "_calculateCoefficients": coefficients,
        "getClusterShadeFeatureValue": lambda self: cluster(self, power=3),
        "getClusterProminenceFeatureValue": lambda self: cluster(self, power=4),
        "getMCCFeatureValue": maximal_correlation,
    }


def _sums_by(
    key: NDArray[np.int64], joint: NDArray[np.float64], n_keys: int
) -> NDArray[np.float64]:
    """Sums of a co-occurrence matrix over the cells of each key: (1, keys, angles)."""
    order = np.argsort(key, axis=None, kind="stable")
    keys, first = np.unique(key.ravel()[order], return_index=True)
    sums = np.zeros((1, n_keys, joint.shape[3]))
    cells = joint.reshape(key.size, joint.shape[3])[order]
    sums[0, keys] = np.add.reduceat(cells, first, axis=0)
    return sums
