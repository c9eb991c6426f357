"""The features of an ROI's histogram, PyRadiomics' class `firstorder`, each sum taken once."""

import numpy as np
from numpy.typing import NDArray


def first_order(
    values: NDArray[np.generic], counts: NDArray[np.int64], voxel_mm3: float
) -> dict[str, float]:
    """PyRadiomics' first-order features by name.

    PyRadiomics looks for NaN, sorts and raises to powers anew in each of its features; the
    results are the same but for the last digits. Kurtosis is that of PyRadiomics, 3 for a
    normal distribution.

    Args:
        values: The intensities inside the ROI, in one row; not empty.
        counts: How many of them lie in each bin that is not empty.
        voxel_mm3: A voxel's volume.

    References:
        Zwanenburg et al. (2020), IBSI reference manual, sections 3.3 and 3.4.
    """
    x = np.asarray(values, dtype=np.float64).reshape(1, -1)
    low, p10, p25, median, p75, p90, high = np.percentile(x, (0, 10, 25, 50, 75, 90, 100)).tolist()
    mean = x.mean(axis=1)
    off = x - mean
    squares = off * off
    m2 = float(squares.mean())
    spread = m2 or 1.0
    robust = x[(x >= p10) & (x <= p90)]
    share = counts / counts.sum()
    energy = float((x * x).sum())
    return {
        "Energy": energy,
        "TotalEnergy": energy * voxel_mm3,
        "Entropy": -float((share * np.log2(share + np.spacing(1))).sum()),
        "Minimum": low,
        "10Percentile": p10,
        "90Percentile": p90,
        "Maximum": high,
        "Mean": float(mean[0]),
        "Median": median,
        "InterquartileRange": p75 - p25,
        "Range": high - low,
        "MeanAbsoluteDeviation": float(np.abs(off).mean()),
        "RobustMeanAbsoluteDeviation": float(np.abs(robust - robust.mean()).mean()),
        "RootMeanSquared": float(np.sqrt(energy / x.size)),
        "Skewness": float((squares * off).mean()) / spread**1.5,
        "Kurtosis": float((squares * squares).mean()) / spread**2,
        "Variance": m2,
        "Uniformity": float((share * share).sum()),
    }
