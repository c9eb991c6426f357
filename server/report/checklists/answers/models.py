"""What the run knows of its models: what they are, how they began, were trained and are stored."""

from server.report.checklists.answers.radiomics import input_of
from server.report.checklists.answers.run import SETTINGS, Answer, Answerer, Run, of_settings
from server.report.words import count, listed, name, plural, share
from shared.branches import UNCHANGED, Training
from shared.config import Study, networks
from shared.networks import input_channels

LAYER = "tables/fusion-layer.csv"
TRAINING = "tables/training.csv"
INPUTS = {
    "embeddings": "embeddings of the branches",
    "radiomics_score": "the radiomics score",
    "clinical": "clinical predictors",
}
NO_NETWORKS = "The study has no networks"


def _models(run: Run, study: Study) -> Answer:
    lasso = {"logistic": "logistic LASSO", "linear": "linear LASSO"}[study.selection.lasso]
    branches = [
        f"{name(branch.name).lower()}: {branch.network}, {branch.kind.upper()}"
        for branch in study.branches
    ]
    fused = listed([INPUTS[key] for key in study.fusion.inputs])
    told = [
        "clinical: logistic regression",
        f"radiomics: {lasso}",
        *branches,
        f"fusion: ridge logistic regression on {fused}, fitted on "
        f"{count(run.part('fusion').get('n_cases'))} cases ({run.part('fusion').get('fitted_on')})",
    ]
    return Answer("; ".join(told), (SETTINGS, "tables/clinical-model.csv", TRAINING, LAYER))


def _architecture(run: Run, study: Study) -> Answer:
    if not study.branches:
        return Answer(NO_NETWORKS, (SETTINGS,))
    told = []
    for network in networks(study):
        branch = network.branch
        n = (run.part("branches").get(network.name) or {}).get("n_parameters")
        norm = {"group": "GroupNorm", "frozen_batch": "frozen BatchNorm"}[branch.norm]
        mask = ", half of them the mask" if branch.mask_channel else ""
        told.append(
            f"{name(network.name)}: MONAI's {branch.network} with {norm}, {count(n)} parameters, "
            f"{input_channels(network)} input channels{mask}, {input_of(branch)}, one logit"
        )
    return Answer("; ".join(told), (TRAINING, SETTINGS))


def _initialisation(run: Run, study: Study) -> Answer:  # noqa: ARG001
    if not study.branches:
        return Answer(NO_NETWORKS, (SETTINGS,))
    told = []
    for network in networks(study):
        begins = network.branch.initial_weights
        what = (
            f"a file of {begins.format}'s weights, SHA-256 {begins.sha256}"
            if begins
            else f"random weights of the study's seed {study.seed}, the same at all sites"
        )
        frozen = network.branch.freeze
        told.append(f"{name(network.name)}: {what}{_frozen(frozen)}")
    return Answer("; ".join(told), (SETTINGS,))


def _frozen(stages: tuple[str, ...]) -> str:
    return f", of which {', '.join(stages)} stay as they are" if stages else ""


def _training(run: Run, study: Study) -> Answer:  # noqa: ARG001
    if not study.branches:
        return Answer(NO_NETWORKS, (SETTINGS,))
    told = [f"{name(branch.name)}: {_trained(branch.training)}" for branch in study.branches]
    dp = ", under differential privacy (tables/training.csv)" if study.dp else ""
    text = f"Federated by {study.aggregation.strategy}{dp}. {'; '.join(told)}"
    return Answer(text, (SETTINGS, TRAINING))


def _trained(training: Training) -> str:
    changed = "images changed by chance" if training.augment != UNCHANGED else "images as they are"
    return (
        f"at most {training.rounds} rounds, {plural(training.local_epochs, 'local epoch')} each, "
        f"{training.optimiser}, learning rate {training.learning_rate:g} ({training.schedule}), "
        f"weight decay {training.weight_decay:g}, batches of {training.batch_size}, "
        f"log-loss, {changed}"
    )


def _tuning(run: Run, study: Study) -> Answer:
    rounds = [
        f"{name(network.name)} round "
        f"{(run.part('branches').get(network.name) or {}).get('best_round')} by tune "
        f"{network.branch.training.best_by}"
        for network in networks(study)
    ]
    folds, penalties = study.selection.folds, run.part("fusion").get("penalties") or []
    told = [
        f"LASSO penalty by {folds}-fold cross-validation on training patients "
        f"(rule: {study.selection.lasso_rule})",
        *([f"round of each network: {', '.join(rounds)}"] if rounds else []),
        f"ridge penalty of the fusion layer of {', '.join(f'{p:g}' for p in penalties)}"
        + (
            ", set before"
            if study.fusion.sums_have_noise
            else f" by {study.fusion.folds}-fold cross-validation on the cases that it is fitted on"
        ),
        "nothing was chosen on a test split",
    ]
    return Answer("; ".join(told), (SETTINGS, TRAINING, "figures/lasso", "report.html#fusion"))


def _ensemble(run: Run, study: Study) -> Answer:  # noqa: ARG001
    text = f"The fusion layer joins {listed([INPUTS[key] for key in study.fusion.inputs])}"
    return Answer(text, (LAYER, SETTINGS))


def _class_weights(run: Run, study: Study) -> Answer:  # noqa: ARG001
    told = [
        f"{name(branch.name)} {_weighted(branch.training.class_weights)}"
        for branch in study.branches
    ]
    networks = f"Networks: {', '.join(told)}. " if told else ""
    text = f"{networks}All regressions without class weights; no resampling, no recalibration"
    return Answer(text, (SETTINGS,))


def _weighted(how: str) -> str:
    return "classes weighted to balance" if how == "balanced" else "no class weights"


def _thresholds(run: Run) -> Answer | None:
    told = []
    for model, splits in run.part("models").items():
        found: dict[str, object] = next(filter(None, (splits or {}).values()), {})
        if found.get("threshold") is not None:
            told.append(
                f"{name(model)} {share(found['threshold'])} (from {found['threshold_from']})"
            )
    if not told:
        return None
    text = (
        "Each model gives a probability; a threshold is chosen by Youden's index on cases that are "
        f"no test, then frozen: {', '.join(told)}"
    )
    return Answer(text, ("tables/performance-internal_test.csv",))


def _specification(run: Run) -> Answer | None:
    bundle = run.part("study").get("bundle_hash")
    if not bundle:
        return None
    trained = bool(run.part("branches"))
    text = (
        f"Coefficients are printed{', the networks are in weights/' if trained else ''}; 'trifed "
        f"bundle export' writes all frozen parts as one file, bundle {bundle}"
    )
    where = ("tables/clinical-model.csv", "tables/radiomics.csv", LAYER)
    return Answer(text, (*where, *(("weights",) if trained else ())))


def _predictions(run: Run) -> Answer | None:
    bundle = run.part("study").get("bundle_hash")
    if not bundle:
        return None
    text = f"Each site computed its patients' scores with the frozen models of bundle {bundle}"
    return Answer(text, (LAYER, "tables/clinical-model.csv", "tables/radiomics.csv"))


def _updating(run: Run) -> Answer | None:
    bundle = run.part("study").get("bundle_hash")
    if not bundle:
        return None
    text = f"None: every test is of the models as frozen in bundle {bundle}"
    return Answer(text, ("results.json",))


MODELS: dict[str, Answerer] = {
    "models": of_settings(_models),
    "architecture": of_settings(_architecture),
    "initialisation": of_settings(_initialisation),
    "training": of_settings(_training),
    "tuning": of_settings(_tuning),
    "ensemble": of_settings(_ensemble),
    "class_weights": of_settings(_class_weights),
    "thresholds": _thresholds,
    "specification": _specification,
    "predictions": _predictions,
    "updating": _updating,
}
