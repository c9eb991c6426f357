"""IBSI's consensus values, and its name for every feature of PyRadiomics that IBSI defines.

PyRadiomics has 107 features. Five are its own and have no consensus value: the largest diameters in
a slice, a column and a row, TotalEnergy and MCC. Of the other 102, three have a value under a
second name as well, under which PyRadiomics keeps them as deprecated: DifferenceAverage
(Dissimilarity), ClusterTendency (SumVariance) and Uniformity (the dependence matrix'
GrayLevelNonUniformityNormalized). That makes 105 values. Six more are of features that follow from
ours by a formula, among them PyRadiomics' deprecated Compactness1, Compactness2 and
SphericalDisproportion.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

REFERENCES = Path(__file__).with_name("references")
IBSI: dict[str, Any] = json.loads((REFERENCES / "ibsi_1.json").read_text("utf-8"))
OWN = ("Maximum2DDiameterSlice", "Maximum2DDiameterColumn", "Maximum2DDiameterRow", "TotalEnergy",
       "MCC")  # fmt: skip
N_VALUES = 105
N_DERIVED = 6

IBSI_SHAPE = {
    "MeshVolume": "morph_volume",
    "VoxelVolume": "morph_vol_approx",
    "SurfaceArea": "morph_area_mesh",
    "SurfaceVolumeRatio": "morph_av",
    "Sphericity": "morph_sphericity",
    "Maximum3DDiameter": "morph_diam",
    "MajorAxisLength": "morph_pca_maj_axis",
    "MinorAxisLength": "morph_pca_min_axis",
    "LeastAxisLength": "morph_pca_least_axis",
    "Elongation": "morph_pca_elongation",
    "Flatness": "morph_pca_flatness",
}
IBSI_FIRSTORDER = {
    "Mean": "stat_mean",
    "Variance": "stat_var",
    "Skewness": "stat_skew",
    "Kurtosis": "stat_kurt",
    "Median": "stat_median",
    "Minimum": "stat_min",
    "10Percentile": "stat_p10",
    "90Percentile": "stat_p90",
    "Maximum": "stat_max",
    "InterquartileRange": "stat_iqr",
    "Range": "stat_range",
    "MeanAbsoluteDeviation": "stat_mad",
    "RobustMeanAbsoluteDeviation": "stat_rmad",
    "Energy": "stat_energy",
    "RootMeanSquared": "stat_rms",
    "Entropy": "ih_entropy",
    "Uniformity": "ih_uniformity",
}
IBSI_GLCM = {
    "MaximumProbability": "joint_max",
    "JointAverage": "joint_avg",
    "SumSquares": "joint_var",
    "JointEntropy": "joint_entr",
    "DifferenceAverage": "diff_avg",
    "DifferenceVariance": "diff_var",
    "DifferenceEntropy": "diff_entr",
    "SumAverage": "sum_avg",
    "SumEntropy": "sum_entr",
    "JointEnergy": "energy",
    "Contrast": "contrast",
    "Id": "inv_diff",
    "Idn": "inv_diff_norm",
    "Idm": "inv_diff_mom",
    "Idmn": "inv_diff_mom_norm",
    "InverseVariance": "inv_var",
    "Correlation": "corr",
    "Autocorrelation": "auto_corr",
    "ClusterTendency": "clust_tend",
    "ClusterShade": "clust_shade",
    "ClusterProminence": "clust_prom",
    "Imc1": "info_corr1",
    "Imc2": "info_corr2",
}
IBSI_GLRLM = {
    "ShortRunEmphasis": "sre",
    "LongRunEmphasis": "lre",
    "LowGrayLevelRunEmphasis": "lgre",
    "HighGrayLevelRunEmphasis": "hgre",
    "ShortRunLowGrayLevelEmphasis": "srlge",
    "ShortRunHighGrayLevelEmphasis": "srhge",
    "LongRunLowGrayLevelEmphasis": "lrlge",
    "LongRunHighGrayLevelEmphasis": "lrhge",
    "GrayLevelNonUniformity": "glnu",
    "GrayLevelNonUniformityNormalized": "glnu_norm",
    "RunLengthNonUniformity": "rlnu",
    "RunLengthNonUniformityNormalized": "rlnu_norm",
    "RunPercentage": "r_perc",
    "GrayLevelVariance": "gl_var",
    "RunVariance": "rl_var",
    "RunEntropy": "rl_entr",
}
IBSI_GLSZM = {
    "SmallAreaEmphasis": "sze",
    "LargeAreaEmphasis": "lze",
    "LowGrayLevelZoneEmphasis": "lgze",
    "HighGrayLevelZoneEmphasis": "hgze",
    "SmallAreaLowGrayLevelEmphasis": "szlge",
    "SmallAreaHighGrayLevelEmphasis": "szhge",
    "LargeAreaLowGrayLevelEmphasis": "lzlge",
    "LargeAreaHighGrayLevelEmphasis": "lzhge",
    "GrayLevelNonUniformity": "glnu",
    "GrayLevelNonUniformityNormalized": "glnu_norm",
    "SizeZoneNonUniformity": "zsnu",
    "SizeZoneNonUniformityNormalized": "zsnu_norm",
    "ZonePercentage": "z_perc",
    "GrayLevelVariance": "gl_var",
    "ZoneVariance": "zs_var",
    "ZoneEntropy": "zs_entr",
}
IBSI_GLDM = {
    "SmallDependenceEmphasis": "lde",
    "LargeDependenceEmphasis": "hde",
    "LowGrayLevelEmphasis": "lgce",
    "HighGrayLevelEmphasis": "hgce",
    "SmallDependenceLowGrayLevelEmphasis": "ldlge",
    "SmallDependenceHighGrayLevelEmphasis": "ldhge",
    "LargeDependenceLowGrayLevelEmphasis": "hdlge",
    "LargeDependenceHighGrayLevelEmphasis": "hdhge",
    "GrayLevelNonUniformity": "glnu",
    "DependenceNonUniformity": "dcnu",
    "DependenceNonUniformityNormalized": "dcnu_norm",
    "GrayLevelVariance": "gl_var",
    "DependenceVariance": "dc_var",
    "DependenceEntropy": "dc_entr",
}
IBSI_NGTDM = ("Coarseness", "Contrast", "Busyness", "Complexity", "Strength")

IBSI_TAGS = (
    {tag: f"original__shape__{name}" for name, tag in IBSI_SHAPE.items()}
    | {tag: f"original__firstorder__{name}" for name, tag in IBSI_FIRSTORDER.items()}
    | {f"cm_{tag}_3D_avg": f"original__glcm__{name}" for name, tag in IBSI_GLCM.items()}
    | {f"rlm_{tag}_3D_avg": f"original__glrlm__{name}" for name, tag in IBSI_GLRLM.items()}
    | {f"szm_{tag}_3D": f"original__glszm__{name}" for name, tag in IBSI_GLSZM.items()}
    | {f"ngl_{tag}_3D": f"original__gldm__{name}" for name, tag in IBSI_GLDM.items()}
    | {f"ngt_{name.lower()}_3D": f"original__ngtdm__{name}" for name in IBSI_NGTDM}
    | {
        "cm_dissimilarity_3D_avg": "original__glcm__DifferenceAverage",
        "cm_sum_var_3D_avg": "original__glcm__ClusterTendency",
        "ngl_glnu_norm_3D": "original__firstorder__Uniformity",
    }
)


def values_of(found: Mapping[str, float]) -> dict[str, float]:
    """Our values by IBSI's tags: 105, then six by IBSI's formulas from ours."""

    def of(name: str) -> float:
        return found[f"original__{name}"]

    volume, area = of("shape__MeshVolume"), of("shape__SurfaceArea")
    axes = (of(f"shape__{name}AxisLength") for name in ("Major", "Minor", "Least"))
    return {tag: found[name] for tag, name in IBSI_TAGS.items()} | {
        "morph_comp_1": volume / (math.sqrt(math.pi) * area**1.5),
        "morph_comp_2": 36 * math.pi * volume**2 / area**3,
        "morph_sph_dispr": area / (36 * math.pi * volume**2) ** (1 / 3),
        "morph_asphericity": (area**3 / (36 * math.pi * volume**2)) ** (1 / 3) - 1,
        "morph_vol_dens_aee": volume / (math.pi / 6 * math.prod(axes)),
        "stat_cov": math.sqrt(of("firstorder__Variance")) / of("firstorder__Mean"),
    }


def off(found: Mapping[str, float], data: str) -> dict[str, str]:
    """Values off IBSI's by more than its tolerance and half of its last printed digit.

    `data` is `digital_phantom`, or `configuration_c`, `_d` or `_e` of the CT phantom.
    """
    wrong = {}
    for tag, ours in values_of(found).items():
        value, tolerance = IBSI["values"][tag][data]
        exponent = math.floor(math.log10(abs(value))) if value else 0
        if not abs(ours - value) <= tolerance + 0.5001 * 10.0 ** (exponent - 2):
            wrong[tag] = f"{ours:.5g}, not {value:g} ± {tolerance:g}"
    return wrong
