"""Settings of radiomics: how features are extracted, which are stable, comparable, and kept."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shared.errors import ConfigError
from shared.phases import Phase
from shared.quantities import Count, Positive
from shared.strict_yaml import Settings

WAVELET_BANDS = ("LLH", "LHL", "LHH", "HLL", "HLH", "HHL", "HHH", "LLL")


class Radiomics(Settings):
    """PyRadiomics and the front end before it, or a table that every site brings.

    ``mode: ibsi`` resamples on the IBSI grid in float64 and rounds to whole HU before
    PyRadiomics' feature classes; ``mode: pyradiomics`` hands the files to plain PyRadiomics;
    ``mode: table`` extracts nothing and takes the columns named from each site's own table.
    """

    mode: Literal["ibsi", "pyradiomics", "table"] = "ibsi"
    columns: tuple[str, ...] = ()
    spacing_mm: tuple[Positive, Positive, Positive] = (1.0, 1.0, 1.0)
    interpolation: Literal["linear", "bspline"] = "bspline"
    bin_width_hu: Positive = 25.0
    bin_width_filtered_hu: Positive | Literal["learnt"] | dict[str, Positive] = 10.0
    bin_count: Annotated[int, Field(ge=2, le=1024)] | None = None
    resegment_hu: tuple[float, float] | None = None
    resegment_sd: Positive | None = None
    original: bool = True
    log_sigma_mm: tuple[Positive, ...] = ()
    wavelet: Literal["coif1", "haar", "db2"] | None = None
    classes: tuple[
        Literal["shape", "firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm"], ...
    ] = ("shape", "firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm")
    deltas: tuple[tuple[Phase, Phase], ...] = ()

    @model_validator(mode="after")
    def _table_or_images(self) -> Self:
        if (self.mode == "table") != bool(self.columns):
            raise ValueError("columns names the features of mode: table, and belongs to it alone")
        if len(set(self.columns)) != len(self.columns):
            raise ValueError("each of columns may stand once")
        if {"patient_id", "split"} & set(self.columns):
            raise ValueError("columns names features; patient_id and split are none")
        if self.mode == "table" and self.deltas:
            raise ValueError("deltas are of features that are extracted; mode: table extracts none")
        return self

    @model_validator(mode="after")
    def _something_to_compute(self) -> Self:
        if not (self.original or self.log_sigma_mm or self.wavelet):
            raise ValueError("nothing to compute: set original, log_sigma_mm or wavelet")
        if not self.classes:
            raise ValueError("classes must name at least one feature class")
        if self.resegment_hu is not None and self.resegment_hu[0] >= self.resegment_hu[1]:
            raise ValueError("resegment_hu must be [low, high] with low below high")
        plain = (self.interpolation, self.bin_count, self.resegment_sd) == ("bspline", None, None)
        if self.mode == "pyradiomics" and not plain:
            raise ValueError(
                "mode pyradiomics takes neither interpolation: linear, bin_count nor resegment_sd"
            )
        if self.mode == "pyradiomics" and isinstance(self.bin_width_filtered_hu, dict):
            raise ValueError("mode pyradiomics takes one bin_width_filtered_hu for all images")
        if self.bin_width_filtered_hu == "learnt" and (self.mode != "ibsi" or self.bin_count):
            raise ValueError("bin_width_filtered_hu: learnt needs mode: ibsi, and no bin_count")
        return self

    @property
    def filter_names(self) -> tuple[str, ...]:
        """The images that features are computed on: `original`, `log_2mm`, `wavelet_LLH` ..."""
        names = ["original"] if self.original else []
        names += [f"log_{sigma:g}mm" for sigma in self.log_sigma_mm]
        names += [f"wavelet_{band}" for band in WAVELET_BANDS] if self.wavelet else []
        return tuple(names)

    @property
    def filtered_names(self) -> tuple[str, ...]:
        """The same without the original."""
        return tuple(name for name in self.filter_names if name != "original")

    @property
    def given_widths(self) -> dict[str, float] | None:
        """The width of each filtered image, HU; None where the sites are to learn them."""
        width = self.bin_width_filtered_hu
        if width == "learnt":
            return None
        return width if isinstance(width, dict) else dict.fromkeys(self.filtered_names, width)

    def bin_width(self, image: str) -> float:
        """The width of a grey level of one image, HU.

        Raises:
            ConfigError: If it has not been learnt yet.
        """
        if image == "original":
            return self.bin_width_hu
        if self.given_widths is None:
            raise ConfigError(
                "radiomics.bin_width_filtered_hu is 'learnt', which needs a run over all sites; "
                "take the file study-frozen.yaml of a run that has learnt them."
            )
        return self.given_widths[image]

    @model_validator(mode="after")
    def _widths_for_all(self) -> Self:
        widths = self.bin_width_filtered_hu
        if isinstance(widths, dict) and set(widths) != set(self.filtered_names):
            raise ValueError(
                "bin_width_filtered_hu must give a width for each of "
                f"{', '.join(self.filtered_names)}, and for no other"
            )
        return self


class Stability(Settings):
    """Which features survive another mask: the intraclass correlation over readings of a patient.

    ``by: perturbation`` redraws each mask by chance; ``by: reader`` takes a second reader's.
    """

    by: Literal["perturbation", "reader"] = "perturbation"
    perturbations: Annotated[int, Field(ge=2, le=20)] = 5
    cases_per_site: Annotated[int, Field(ge=5)] = 30
    min_icc: Annotated[float, Field(gt=0, lt=1)] = 0.75
    bound: Literal["low", "estimate"] = "low"


class Standardise(Settings):
    """How features become comparable before any is chosen: clipped, harmonised, on one scale."""

    clip_quantile: Annotated[float, Field(gt=0, lt=0.25)] | None = None
    harmonise: Literal["none", "combat"] = "none"
    harmonise_min_cases: Annotated[int, Field(ge=2)] = 15


class Selection(Settings):
    """Which radiomics features are kept: screen, prune by correlation, LASSO, from pooled sums."""

    screen: Literal["van_elteren", "welch", "mann_whitney"] = "van_elteren"
    screen_bins: Annotated[int, Field(ge=8, le=256)] = 64
    alpha: Annotated[float, Field(gt=0, le=1)] = 0.05
    adjust: Literal["none", "benjamini_hochberg"] = "none"
    keep_at_least: Count = 5
    keep_at_most: Annotated[int, Field(ge=1, le=300)] = 60
    max_correlation: Annotated[float, Field(gt=0, le=1)] = 0.9
    mrmr_features: Count | None = None
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    lasso: Literal["logistic", "linear"] = "linear"
    lasso_rule: Literal["min", "one_se"] = "min"
    max_features: Count = 10
    half_samples: Annotated[int, Field(ge=1, le=1000)] = 100
    min_frequency: Annotated[float, Field(ge=0, lt=1)] = 0.0
