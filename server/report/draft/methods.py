"""The draft's Methods: what the study file says was done."""

from collections.abc import Iterator

from server.report.checklists.answers.radiomics import ADJUSTED, SCREENS
from server.report.draft.sentence import place, setting
from server.report.words import inside, listed
from shared.config import Study
from shared.radiomics_settings import Radiomics

EXCHANGES = {
    "embeddings": "from rows of reduced embeddings, scores and clinical predictors without ids",
    "embeddings+dp": "from rows to whose numbers the sites added noise for differential privacy",
    "scores": "from rows of scores and clinical predictors without ids",
    "statistics": "from sums that the sites told, without any row of a patient",
    "statistics+dp": "from sums to which the sites added noise for differential privacy",
}


def methods(study: Study) -> dict[str, list[str]]:
    """Sentences of each part of the Methods, with places for their numbers."""
    return {
        "Study design and patients": list(_patients(study)),
        "Radiomics": list(_radiomics(study)),
        "Clinical model": [
            f"The clinical model was a logistic regression on "
            f"{listed([inside(p) for p in study.clinical.predictors])}, fitted across sites on "
            f"{place('clinical', 'n', form='count')} training patients; blank values were set to "
            "the training mean."
        ],
        "Networks": list(_networks(study)),
        "Fusion layer": list(_fusion(study)),
        "Statistical analysis": list(_analysis(study)),
    }


def _patients(study: Study) -> Iterator[str]:
    positive = listed([f"“{value}”" for value in study.endpoint.positive])
    negative = listed([f"“{value}”" for value in study.endpoint.negative])
    yield (
        f"The endpoint was {study.endpoint.name}: {positive} counted as positive, {negative} as "
        "negative."
    )
    yield f"CT was read in the {listed(list(study.phases))} phase."
    yield (
        "Sites trained together without any image or identifier leaving a hospital: the server "
        "received only the statistics, weights and scores listed in tables/disclosed.csv."
    )
    yield (
        "Where a site's manifest did not name splits, patients of training sites were divided at "
        f"random within each label into train ({setting('cohort.splits.train', 'percent')}), tune "
        f"({setting('cohort.splits.tune', 'percent')}) and internal test "
        f"({setting('cohort.splits.internal_test', 'percent')}), with seed "
        f"{place('study', 'seed', form='plain')}."
    )
    if study.sites.external:
        yield f"All patients of {listed(list(study.sites.external))} were kept for testing."


def _radiomics(study: Study) -> Iterator[str]:
    settings = study.radiomics
    if settings.mode == "table":
        yield "Radiomics features were brought by each site as a table."
    else:
        yield (
            "Images were resampled to voxels of "
            f"{setting('radiomics.spacing_mm')} mm (z, y, x), and grey levels were discretised "
            + (
                f"into {setting('radiomics.bin_count')} levels."
                if settings.bin_count
                else f"in bins of {setting('radiomics.bin_width_hu')} HU."
            )
        )
        yield (
            f"Features of the classes {listed(list(settings.classes))} were computed with "
            f"PyRadiomics' definitions on {listed(list(_images(settings)))} images of each phase."
        )
    yield from _made_comparable(study)
    yield (
        f"Features were screened by {SCREENS[study.selection.screen]} "
        f"({ADJUSTED[study.selection.adjust]}) at α = {setting('selection.alpha')}, one of each "
        f"pair with |r| above {setting('selection.max_correlation')} was dropped{_mrmr(study)}, "
        f"and a {study.selection.lasso} LASSO, its penalty chosen over "
        f"{setting('selection.folds')} folds, kept at most {setting('selection.max_features')}."
    )
    yield "All of this used training patients only."


def _made_comparable(study: Study) -> Iterator[str]:
    """What comes between extraction and selection."""
    if study.stability:
        masks = {"perturbation": "redrawn by chance", "reader": "of a second reader"}
        yield (
            "Only features went on whose intraclass correlation over masks "
            f"{masks[study.stability.by]} was at least {setting('stability.min_icc')}"
            f"{' at its lower bound' if study.stability.bound == 'low' else ''}."
        )
    if study.standardise.clip_quantile:
        yield (
            "Features were clipped at their quantiles "
            f"{setting('standardise.clip_quantile')} from either end."
        )
    if study.standardise.harmonise == "combat":
        yield "Features of training sites were harmonised by ComBat."
    yield "Each feature was standardised by mean and SD of all training patients together."


def _mrmr(study: Study) -> str:
    if study.selection.mrmr_features is None:
        return ""
    return f", at most {setting('selection.mrmr_features')} were left by mRMR"


def _images(settings: Radiomics) -> Iterator[str]:
    """The images that features are computed on."""
    if settings.original:
        yield "original"
    if settings.log_sigma_mm:
        n = range(len(settings.log_sigma_mm))
        sigmas = listed([setting(f"radiomics.log_sigma_mm.{i}") for i in n])
        yield f"Laplacian-of-Gaussian (σ {sigmas} mm)"
    if settings.wavelet:
        yield f"{settings.wavelet} wavelet"


def _networks(study: Study) -> Iterator[str]:
    for i, branch in enumerate(study.branches):
        at = f"branches.{i}"
        field = f" points of {setting(f'{at}.spacing_mm')} mm" if branch.spacing_mm else " points"
        if branch.spacing_mm is None:
            field += " over the tumour and a margin"
        yield (
            f"The {inside(branch.name)} was a {branch.network} on an input of "
            f"{setting(f'{at}.size')}{field}, trained for at most "
            f"{setting(f'{at}.training.rounds')} rounds of {study.aggregation.strategy} with "
            f"{branch.training.optimiser} (learning rate "
            f"{setting(f'{at}.training.learning_rate')}, batches of "
            f"{setting(f'{at}.training.batch_size')}); the round with the best "
            f"{branch.training.best_by} on tune patients was kept."
        )
    if study.branches:
        low, high = setting("preprocess.window_hu.0"), setting("preprocess.window_hu.1")
        yield f"Networks saw a fixed window from {low} to {high} HU."


def _fusion(study: Study) -> Iterator[str]:
    inputs = {
        "embeddings": "the branches' outputs",
        "radiomics_score": "the radiomics score",
        "clinical": "the clinical predictors",
    }
    yield (
        "The fusion layer was a ridge logistic regression on "
        f"{listed([inputs[key] for key in study.fusion.inputs])} of "
        f"{place('fusion', 'n_cases', form='count')} patients, fitted "
        f"{EXCHANGES[study.fusion.exchange]}; {_penalty(study)}."
    )
    yield (
        "What each input added to a test patient's logit was its coefficient times its distance "
        "from the mean (linear SHAP); sites told sums of it by label."
    )
    yield (
        f"At an anticipated AUC of {place('fusion', 'budget', 'anticipated_auc', form='share')}, "
        "the criteria of Riley et al. allowed "
        f"{place('fusion', 'budget', 'allowed', form='count')} candidate parameters for these "
        f"patients; the layer had {place('fusion', 'budget', 'n_parameters', form='count')}."
    )


def _penalty(study: Study) -> str:
    if study.fusion.sums_have_noise:
        return "its penalty was set before"
    return f"its penalty was chosen over {setting('fusion.folds')} folds"


def _analysis(study: Study) -> Iterator[str]:
    yield (
        "Thresholds were chosen by Youden's index on patients who were no test patients, and then "
        "frozen with the models; nothing was updated after testing."
    )
    yield (
        f"Intervals (CI) have a level of {place('confidence_level', form='percent')}: DeLong's for "
        "AUCs, Wilson's for proportions."
    )
    yield (
        "AUCs of models were compared on the same patients by DeLong's test, with Holm's "
        "adjustment within each cohort."
    )
    if study.evaluation.subgroups:
        columns = listed([f"“{subgroup.column}”" for subgroup in study.evaluation.subgroups])
        yield (
            f"Subgroups of test patients by {columns} were named in the study file beforehand; "
            "AUCs of subgroups without patients in common were compared by Cochran's Q. Nothing "
            "was adjusted for how many subgroups there are."
        )
    chosen = study.evaluation.decision_thresholds
    if chosen:
        yield (
            "Net benefit was computed from a threshold of "
            f"{setting('evaluation.decision_thresholds.low')} to "
            f"{setting('evaluation.decision_thresholds.high')}, a range named beforehand."
        )
