"""In a line, what each stage lets leave a hospital; `shared/stages` says it in full."""

from shared.config import Study as Settings

DISCLOSED = [
    {"stage": "hello", "what": "versions, hashes of code and study, the site's name and role"},
    {
        "stage": "describe_cohort",
        "what": "counts by split and label; moments of clinical variables by label; at "
        "training sites how many values by label are at or below the numbers asked; whether "
        "features come from images or a table; by phase, spacings of images as moments and counts "
        "by tube voltage, maker and kernel, small ones as one",
    },
    {
        "stage": "discretise",
        "what": "nothing, or with learnt widths: for each filtered image, how many cases have a "
        "range at or below the numbers asked",
    },
    {
        "stage": "stability",
        "what": "nothing, or where the study reads cases again: for each feature the number of "
        "cases read, mean and spread of their means, each reading's mean deviation and the "
        "spread of what is left",
    },
    {
        "stage": "standardise",
        "what": "count, mean and squared deviation of each feature; with clipping also how many "
        "cases are at or below the numbers asked",
    },
    {
        "stage": "select_features",
        "what": "a rank statistic for each feature, or its moments or histogram by label; sums of "
        "products of the screened features, by fold; gradient and Hessian of each step of the "
        "logistic LASSO; how many tune cases look like each site's",
    },
    {
        "stage": "clinical_model",
        "what": "moments of each predictor; gradient and information of each Newton step, for each "
        "predictor alone, all together, and with an intercept for each site",
    },
    {
        "stage": "train_branches",
        "what": "the networks' weights, without a formal guarantee (epsilon = infinity); numbers "
        "of cases; mean loss; binned score counts of tune cases",
    },
    {
        "stage": "embed",
        "what": "reduced embeddings, radiomics score, clinical predictors and label of each case "
        "that the fusion layer is fitted on, without ids, as the hospital's policy allows",
    },
    {"stage": "fuse", "what": "nothing; the fusion layer is fitted on those rows"},
    {
        "stage": "evaluate",
        "what": "binned score counts by label, for each model and split; to compare the models, of "
        "internal test cases with all scores, such counts again, sums and sums of products of "
        "placements and of probabilities by label, and how many two models "
        "both call positive; counts and moments by label, and summed sizes, of what each input of "
        "the fusion layer adds to their logits",
    },
    {
        "stage": "explain",
        "what": "nothing, or where the study asks: for each network, over internal test cases, the "
        "mean map of heat around the tumour, and moments and a histogram of the shares of heat "
        "inside the tumour, near it and elsewhere",
    },
    {
        "stage": "external_evaluate",
        "what": "the external cohort's counts and moments by label; for each model, as the site "
        "file lets leave, a summary (AUC, counts at the threshold, Brier score, calibration; the "
        "covariance of the models' AUCs), "
        "binned score counts by label too, or scores and label of each case without ids; of what "
        "each input of the fusion layer adds to the logits, counts and moments by label and summed "
        "sizes",
    },
]


INPUTS = {
    "embeddings": "reduced embeddings",
    "radiomics_score": "radiomics score",
    "clinical": "clinical predictors",
}


SUMMED_EMBED = "sums of products of the branches' embeddings of training cases, with reduce: pca"
SUMMED_FUSE = (
    "of the fusion layer's columns, over {split} cases: moments in each fold; score, information "
    "and log-likelihood of each Newton step, by fold left out and penalty; summed losses of "
    "held-out folds; binned score counts by label"
)
NOISED_FUSE = (
    "of the fusion layer's columns, over {split} cases: score and information at {steps} "
    "coefficients, with noise (epsilon {epsilon:g}, delta {delta:g}, which cover these sums "
    "alone); what this spent on privacy"
)
NOISED_ROWS = (
    "{rows}, with noise in every number (epsilon {epsilon:g}, delta {delta:g}, which cover these "
    "rows alone); what this spent on privacy"
)
SUBGROUPS = {
    "evaluate": "; of internal test cases also such counts in each subgroup that the study names, "
    "and how many have no value of its column",
    "external_evaluate": "; the summaries and counts also in each subgroup that the study names, "
    "and how many have no value of its column",
}
UNDER_DP = (
    "the networks' weights, under differential privacy; not covered by its epsilon: numbers of "
    "cases; binned score counts of tune cases; what each round spent on privacy"
)


SUMMED_STAGES = frozenset(
    {"discretise", "stability", "standardise", "select_features", "clinical_model"}
    | {"train_branches", "fuse"}
)
LOOKS = "; how many tune cases look like each site's"
AS_SUM = "of all training sites together: "


def disclosed_by(settings: Settings, *, secure_sums: bool = False) -> list[dict[str, str]]:
    """What this study's stages let leave: nothing of networks where it trains none.

    Args:
        secure_sums: Whether the server knew of what is only ever added nothing but the sums.
    """
    branches = "one score of each branch" if settings.fusion.takes_scores else None
    told = INPUTS | ({"embeddings": branches} if branches else {})
    inputs = ", ".join(words for name, words in told.items() if name in settings.fusion.inputs)
    split = "training" if settings.fusion.rows_of == "train" else "tune"
    rows = f"{inputs} and label of each {split} case, without ids, as the hospital's policy allows"
    found = [
        entry for entry in DISCLOSED if settings.branches or entry["stage"] != "train_branches"
    ]
    fused = {"embed": rows}
    if settings.fusion.exchange == "statistics":
        fused = {"embed": SUMMED_EMBED, "fuse": SUMMED_FUSE.format(split=split)}
    dp = settings.fusion.dp
    if settings.fusion.exchange == "embeddings+dp":
        noised = NOISED_ROWS.format(rows=rows, epsilon=dp.epsilon, delta=dp.delta)
        fused = {"embed": noised}
    if settings.fusion.sums_have_noise:
        noised = NOISED_FUSE.format(split=split, steps=dp.steps, epsilon=dp.epsilon, delta=dp.delta)
        fused = {"embed": "nothing", "fuse": noised}
    words = fused | ({"train_branches": UNDER_DP} if settings.dp else {})
    told_apart = SUBGROUPS if settings.evaluation.subgroups else {}
    if secure_sums:
        found = [entry | {"what": entry["what"].removesuffix(LOOKS)} for entry in found]
    summed = SUMMED_STAGES if secure_sums else frozenset()
    if settings.fusion.exchange == "statistics" and secure_sums:
        summed |= {"embed"}
    return [
        entry
        | {
            "what": (AS_SUM if entry["stage"] in summed else "")
            + words.get(entry["stage"], entry["what"])
            + told_apart.get(entry["stage"], "")
        }
        for entry in found
    ]
