"""What the run knows of its images and features: how they were made, scaled and chosen."""

from collections.abc import Sequence

from server.report.checklists.answers.run import SETTINGS, Answer, Answerer, Run, of_settings
from server.report.words import MINUS, count, listed, number, p_value, plural
from shared.branches import Branch3D, Branch25D
from shared.config import Study

SCREENS = {
    "van_elteren": "van Elteren's test, stratified by site",
    "welch": "Welch's test",
    "mann_whitney": "the Mann-Whitney test",
}
ADJUSTED = {"none": "not adjusted", "benjamini_hochberg": "adjusted by Benjamini and Hochberg"}
KEPT = ("tables/radiomics.csv",)


def _mm(values: Sequence[float]) -> str:
    return f"{' × '.join(f'{value:g}' for value in values)} mm"


def _signed(value: float) -> str:
    return f"{value:g}".replace("-", MINUS)


def _phases(run: Run) -> Answer | None:
    phases = run.results.get("phases") or []
    return Answer(f"CT phases: {listed(list(phases))}", (SETTINGS,)) if phases else None


def _preprocessing(run: Run, study: Study) -> Answer | None:
    parts = []
    if study.branches:
        window = " to ".join(map(_signed, study.preprocess.window_hu))
        parts.append(
            f"For networks images are resampled linearly, and a fixed window of {window} HU is "
            f"scaled to {_signed(-1)} to 1"
        )
    if study.radiomics.mode != "table":
        found = _resampling(run, study)
        parts.append(f"For radiomics, from HU without a window: {found.text if found else ''}")
        low_high = study.radiomics.resegment_hu
        if low_high:
            parts.append(f"Masks keep {' to '.join(map(_signed, low_high))} HU")
        if study.radiomics.resegment_sd:
            parts.append(f"Masks keep {study.radiomics.resegment_sd:g} SD about their mean")
    return Answer(". ".join(parts), (SETTINGS,)) if parts else None


def _resampling(run: Run, study: Study) -> Answer | None:  # noqa: ARG001
    settings = study.radiomics
    if settings.mode == "table":
        return None
    how = {"bspline": "cubic B-splines", "linear": "linear interpolation"}[settings.interpolation]
    text = f"voxels of {_mm(settings.spacing_mm)} (z, y, x) by {how}"
    return Answer(text, (SETTINGS,))


def _discretisation(run: Run, study: Study) -> Answer | None:
    settings = study.radiomics
    if settings.mode == "table":
        return None
    if settings.bin_count:
        return Answer(f"{settings.bin_count} grey levels between the ends of each ROI", (SETTINGS,))
    text = f"Fixed bin width of {settings.bin_width_hu:g} HU"
    widths = (run.part("radiomics").get("bin_widths_hu") or {}).get("widths") or {}
    filtered = [f"{image} {width:g}" for image, width in widths.items() if image != "original"]
    if filtered:
        learnt = (run.part("radiomics").get("bin_widths_hu") or {}).get("learnt")
        origin = ", learnt from the training sites' ranges" if learnt else ""
        text += f"; of filtered images{origin}: {', '.join(filtered)}"
    return Answer(text, (SETTINGS,))


def _image_types(run: Run, study: Study) -> Answer | None:  # noqa: ARG001
    settings = study.radiomics
    if settings.mode == "table":
        return None
    names = settings.filter_names
    text = f"{plural(len(names), 'image')} of each phase: {', '.join(names)}"
    if settings.deltas:
        pairs = ", ".join(f"{later} less {earlier}" for later, earlier in settings.deltas)
        text += f"; differences of features between phases: {pairs}"
    return Answer(text, (SETTINGS,))


def _extraction(run: Run, study: Study) -> Answer | None:
    engine, mode = run.part("versions").get("radiomics"), study.radiomics.mode
    if mode == "table" or not engine:
        return None
    how = {
        "ibsi": "feature classes as tested against the reference values of the IBSI",
        "pyradiomics": "as PyRadiomics does it by itself",
    }
    return Answer(f"{engine}, {how[mode]}", (SETTINGS, "report.html#top"))


def _feature_classes(run: Run, study: Study) -> Answer | None:  # noqa: ARG001
    if study.radiomics.mode == "table":
        return None
    return Answer(f"Feature classes: {', '.join(study.radiomics.classes)}", (SETTINGS,))


def _n_features(run: Run) -> Answer | None:
    n = run.part("radiomics").get("n_features")
    if n is None:
        return None
    read = (run.part("radiomics").get("stability") or {}).get("n_features")
    text = f"{count(read)} features, of which {count(n)} were stable" if read else count(n)
    return Answer(text if read else f"{text} features in all", ("report.html#radiomics",))


def _settings(run: Run) -> Answer | None:
    if not run.results.get("settings_yaml"):
        return None
    text = "Every setting, with each default written out, stands in the study file"
    return Answer(text, ("study.yaml", SETTINGS))


def _stability(run: Run) -> Answer | None:
    found = run.part("radiomics").get("stability") or {}
    if not found:
        return None
    by = {"perturbation": "masks redrawn by chance", "reader": "a second reader's masks"}
    bound = {"low": "lower bound of the ", "estimate": ""}[found["bound"]]
    text = (
        f"{count(found['n_cases'])} patients read {count(found['n_readings'])} times by "
        f"{by[found['by']]}: {count(found['n_kept'])} of {count(found['n_features'])} features "
        f"with the {bound}{found['kind']} of at least {found['min_icc']:g} went on"
    )
    return Answer(text, ("report.html#radiomics",))


def _scaling(run: Run, study: Study) -> Answer:  # noqa: ARG001
    parts = []
    if study.standardise.clip_quantile:
        parts.append(f"features are clipped at their {study.standardise.clip_quantile:g} quantiles")
    if study.standardise.harmonise == "combat":
        parts.append("features of training sites are harmonised by ComBat")
    parts.append("each feature less its mean, over its SD, of all training patients together")
    parts.append("columns of the fusion layer likewise, of the patients that it is fitted on")
    return Answer("; ".join(parts), (SETTINGS,))


def _reduction(run: Run, study: Study) -> Answer | None:
    found, settings = run.part("radiomics"), study.selection
    if not found.get("lasso"):
        return None
    mrmr = f", mRMR down to at most {settings.mrmr_features}" if settings.mrmr_features else ""
    text = (
        f"On training patients alone: of {count(found.get('n_features'))} features "
        f"{count(found.get('n_screened'))} by {SCREENS[settings.screen]} (α = {settings.alpha:g}, "
        f"{ADJUSTED[settings.adjust]}; {settings.keep_at_least} to {settings.keep_at_most} "
        f"features), of these {count(found.get('n_after_pruning'))} after one of each pair with "
        f"|r| above {settings.max_correlation:g} was dropped{mrmr}, and of these "
        f"{len(found.get('kept') or [])} by a {settings.lasso} LASSO (at most "
        f"{settings.max_features})"
    )
    return Answer(text, ("report.html#radiomics", *KEPT, "figures/lasso"))


def _feature_statistics(run: Run) -> Answer | None:
    kept = run.part("radiomics").get("kept") or []
    if not kept:
        return None
    told = [
        f"{feature['feature'].replace('__', ' ')} (coefficient {number(feature['coefficient'], 3)}"
        f", p {p_value(feature['p'])})"
        for feature in kept
    ]
    return Answer(f"Kept: {', '.join(told)}", (*KEPT, "figures/lasso"))


def _dimensionality(run: Run) -> Answer | None:
    kept = run.part("radiomics").get("kept") or []
    sites = (run.part("cohort").get("sites") or {}).values()
    trained = [(site.get("splits") or {}).get("train") for site in sites]
    n = [split["n"] for split in trained if split]
    if not kept or not n or not all(isinstance(value, int) for value in n):
        return None
    each = number(sum(n) / len(kept), 1)
    text = f"{len(kept)} features kept, {count(sum(n))} training patients: {each} for each feature"
    return Answer(text, (*KEPT, "tables/sites.csv"))


def input_of(branch: Branch25D | Branch3D) -> str:
    """A branch's input in words."""
    size = " × ".join(map(str, branch.size))
    if isinstance(branch, Branch3D):
        return f"{size} points of {_mm(branch.spacing_mm)}"
    margin = f"the tumour and {branch.roi_margin_mm or 0:g} mm around it"
    field = f"of {_mm(branch.spacing_mm)}" if branch.spacing_mm else f"over {margin}"
    slices = ", ".join(map(_signed, branch.slice_offsets_mm))
    stacks = f", {branch.n_stacks} stacks pooled by {branch.pooling}" if branch.n_stacks > 1 else ""
    return f"{size} points {field}, slices at {slices} mm{stacks}"


RADIOMICS: dict[str, Answerer] = {
    "phases": _phases,
    "preprocessing": of_settings(_preprocessing),
    "resampling": of_settings(_resampling),
    "discretisation": of_settings(_discretisation),
    "image_types": of_settings(_image_types),
    "extraction": of_settings(_extraction),
    "feature_classes": of_settings(_feature_classes),
    "n_features": _n_features,
    "settings": _settings,
    "stability": _stability,
    "scaling": of_settings(_scaling),
    "reduction": of_settings(_reduction),
    "feature_statistics": _feature_statistics,
    "dimensionality": _dimensionality,
}
