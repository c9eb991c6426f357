"""Radiomics against the consensus values of the Image Biomarker Standardisation Initiative.

The tables name IBSI's feature for every feature of PyRadiomics that IBSI defines.
"""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from client.cohort.manifest import Case
from client.images.volumes import Volume, read_case
from client.radiomics.features import ibsi_features
from shared.phases import Phase
from shared.radiomics_settings import Radiomics

PHASE: Phase = "nephrographic"
FindData = Callable[[str], Path]

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
    {f"original__shape__{name}": tag for name, tag in IBSI_SHAPE.items()}
    | {f"original__firstorder__{name}": tag for name, tag in IBSI_FIRSTORDER.items()}
    | {f"original__glcm__{name}": f"cm_{tag}_3D_avg" for name, tag in IBSI_GLCM.items()}
    | {f"original__glrlm__{name}": f"rlm_{tag}_3D_avg" for name, tag in IBSI_GLRLM.items()}
    | {f"original__glszm__{name}": f"szm_{tag}_3D" for name, tag in IBSI_GLSZM.items()}
    | {f"original__gldm__{name}": f"ngl_{tag}_3D" for name, tag in IBSI_GLDM.items()}
    | {f"original__ngtdm__{name}": f"ngt_{name.lower()}_3D" for name in IBSI_NGTDM}
)


def case_of(image: Path, mask: Path) -> Case:
    return Case("B-0031", 2, None, 0, {PHASE: image}, {PHASE: mask}, {})


def reference_values(path: Path) -> dict[str, tuple[float, float]]:
    """IBSI's consensus value and tolerance by tag."""
    with path.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter=";") if row["reference value"]]
    return {row["tag"]: (float(row["reference value"]), float(row["tolerance"])) for row in rows}


def off(found: dict[str, float], reference: dict[str, tuple[float, float]]) -> dict[str, str]:
    """Features off IBSI's value by more than its tolerance and half of its last printed digit."""
    wrong = {}
    for name, tag in IBSI_TAGS.items():
        value, tolerance = reference[tag]
        exponent = np.floor(np.log10(abs(value))) if value else 0
        if abs(found[name] - value) > tolerance + 0.5001 * 10 ** (exponent - 2):
            wrong[name] = f"{found[name]:.5g}, not {value:g} ± {tolerance:g}"
    return wrong


def test_the_ibsi_digital_phantom_has_the_consensus_values(reference_data: FindData) -> None:
    folder = reference_data("ibsi/ibsi_1_digital_phantom/nifti")
    values = reference_data("ibsi/reference_values/ibsi_1_dig_phantom.csv")
    case = case_of(folder / "image/phantom.nii.gz", folder / "mask/mask.nii.gz")
    settings = Radiomics(spacing_mm=(2.0, 2.0, 2.0), bin_width_hu=1.0)
    found = ibsi_features(read_any(case), settings)
    assert off(found, reference_values(values)) == {}


def test_the_ibsi_ct_phantom_has_the_consensus_values_of_configuration_c(
    reference_data: FindData,
) -> None:
    folder = reference_data("ibsi/ibsi_1_ct_radiomics_phantom/nifti")
    values = reference_data("ibsi/reference_values/ibsi_1_chest_config_c.csv")
    case = case_of(folder / "image/phantom.nii.gz", folder / "mask/mask.nii.gz")
    settings = Radiomics(
        spacing_mm=(2.0, 2.0, 2.0),
        interpolation="linear",
        bin_width_hu=25.0,
        resegment_hu=(-1000.0, 400.0),
    )
    found = ibsi_features(read_case(case, PHASE), settings)
    assert off(found, reference_values(values)) == {}


def read_any(case: Case) -> Volume:
    """The digital phantom's grey levels 1 to 9 are no CT; read it without that check."""
    image = sitk.ReadImage(str(case.images[PHASE]))
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(case.masks[PHASE]))) != 0
    values = sitk.GetArrayFromImage(image).astype(np.float32)
    return Volume(values, mask, tuple(reversed(image.GetSpacing())), (0, 0, 0), "", 1)
