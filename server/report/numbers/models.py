"""Where the numbers of the fusion layer, the models and the comparisons are from."""

from collections.abc import Iterator

from server.report.numbers.cohort import GIVEN
from server.report.numbers.origin import Origin, under

LAYER = ("fusion-layer", "fusion", "nomogram")
BUDGET = ("fusion-cases",)
WITHOUT = ("fusion-without-site",)
AGAIN = "the fusion layer without a site: fitted again on rows, or one Newton step on sums"
RANKED = "each case scored by a layer of the other folds; DeLong's interval"
RILEY = "Riley et al., BMJ 2020;368:m441"
PENALTIES = "ridge logistic regression on the folds left out; {fusion}"

FUSION = (
    Origin("inputs.*.mean|sd", "unit of the column", "{fusion}", LAYER, "n_cases"),
    Origin("inputs.*.coefficient", "log odds per SD", "ridge fit; {fusion}", LAYER, "n_cases"),
    Origin("inputs.*.per_unit", "log odds per unit", "coefficient over SD", LAYER, "n_cases"),
    Origin("inputs.*.odds_ratio", "odds ratio", "exp of the coefficient", LAYER, "n_cases"),
    Origin("n_questions|n_iterations", "questions", "counted by the server"),
    Origin("penalty", "penalty", PENALTIES, LAYER),
    Origin("penalties", "penalty", GIVEN),
    Origin("penalties_withheld", "penalty", GIVEN, LAYER),
    Origin("cv_log_loss", "log-loss", PENALTIES, (), "n_cases"),
    Origin("n_cases", "cases", "{fusion}", LAYER + BUDGET),
    Origin("outer_folds", "setting", GIVEN),
    Origin("held_out_auc", "AUC", f"{PENALTIES}; DeLong's interval", (), "n_cases"),
    Origin("without_site.*.n_cases|n_others", "cases", "counted", WITHOUT),
    Origin("without_site.*.auc", "AUC", RANKED, WITHOUT, "n_cases"),
    Origin("without_site.*.auc_without", "AUC", RANKED, WITHOUT, "n_others"),
    Origin("without_site.*.largest.coefficient", "log odds per SD", "ridge fit; {fusion}", WITHOUT),
    Origin("without_site.*.largest.without", "log odds per SD", AGAIN, WITHOUT),
    Origin("without_site.*.coefficients.*", "log odds per SD", AGAIN),
    Origin("privacy.*.epsilon|delta", "epsilon, delta", "the sites' bookings, composed"),
    Origin("privacy.*.history.*.*", "bookings", "told by the sites"),
    Origin("budget.anticipated_auc", "setting", GIVEN, BUDGET),
    Origin("budget.anticipated_r2", "Cox-Snell R2", f"from the anticipated AUC; {RILEY}", BUDGET),
    Origin("budget.n_cases", "cases", "the training sites' counts, added up", BUDGET),
    Origin("budget.prevalence", "share", "the training sites' counts", BUDGET, "n_cases"),
    Origin("budget.n_parameters|allowed", "parameters", f"counted; {RILEY}", BUDGET),
    Origin("budget.sizes.*.n_parameters", "parameters", "sizes to compare", BUDGET),
    Origin("budget.sizes.*.shrinkage|optimism|prevalence", "cases needed", RILEY, BUDGET),
)

SUMMED = {
    "internal_test": "counted, averaged and squared by each site and label, added up",
    "external_sites.*": "averaged inside {0}",
}


def _contributed(cohort: str, how: str) -> Iterator[Origin]:
    """What the fusion layer's inputs add on one cohort."""
    table, both = ("fusion-contributions",), ("fusion-contributions", "contributions")
    added = f"linear SHAP, coefficient times (value - mean); {how}"
    numbers = (
        Origin("n_missing", "cases", "counted by the sites", table),
        Origin("mean_absolute", "logit", added, both, "n"),
        Origin("negative|positive.n", "cases", "counted by the sites"),
        Origin("negative|positive.mean", "logit", added, both, "n"),
        Origin("negative|positive.sd", "logit, standard deviation", added, table, "n"),
    )
    yield Origin(f"contributions.{cohort}.n|n_positive", "cases", "counted by the sites", both)
    yield from under(f"contributions.{cohort}.columns|sources.*", numbers)


CONTRIBUTIONS = tuple(o for cohort, how in SUMMED.items() for o in _contributed(cohort, how))

HALF = "accuracy|sensitivity|specificity"
BINS = "the sites' scores, counted by each in fixed bins for each label, added up"
COUNTS = "counts at the frozen threshold, from each site, added up"
SQUARES = "the sites' sums of squared differences of score and label, added up"
FROZEN = "chosen by Youden's index on cases that are no test, then frozen"
RATIO = "positives over the sum of scores"
LINE = "logistic regression of the label on the score's logit; Wald's interval"
CURVE = "the same on a restricted cubic spline of the logit, four knots; pointwise Wald bounds"
INSIDE = "computed inside {0} at full precision, from every score of its own patients"


def performance(
    pooled: str, counts: str, bins: str, table: str, figures: tuple[str, ...] = ()
) -> tuple[Origin, ...]:
    """One model's numbers; what is pooled, counted and binned is had in the ways said."""
    shown = (table,)
    drawn = ("calibration", "calibration-others") if figures else ()
    fitted = (table.replace("performance", "calibration"),) if figures else ()
    half = (table.replace("performance", "half"),) if figures else ()
    roc, decision = (("roc",), ("decision",)) if figures else ((), ())
    return (
        Origin("n|n_positive|n_missing", "cases", counts, shown + fitted + half),
        Origin("auc", "AUC", f"{pooled}; DeLong's variance", shown + figures, "n"),
        Origin("threshold", "score", FROZEN, shown + half),
        Origin(HALF, "proportion", f"{counts}; Wilson's interval", shown + half, "n"),
        Origin("ppv|npv", "proportion", f"{counts}; Wilson's interval", shown, "n"),
        Origin(f"at_half.{HALF}", "proportion", f"{bins}; Wilson's interval", half, "n"),
        Origin("at_half.ppv|npv", "proportion", f"{bins}; Wilson's interval", (), "n"),
        Origin("f1", "F1", counts, shown, "n"),
        Origin("mcc", "Matthews' correlation", counts, shown, "n"),
        Origin("youden", "Youden's J", f"{counts}; Newcombe's interval", shown, "n"),
        Origin("observed_expected", "O/E", f"{RATIO}; {bins}", shown + fitted, "n"),
        Origin("decision_curve.thresholds", "score", GIVEN, decision),
        Origin("decision_curve.*", "net benefit", bins, decision, "n"),
        Origin("brier", "Brier score", SQUARES if counts == COUNTS else counts, shown, "n"),
        Origin("counts.tp|fp|tn|fn", "cases", counts),
        Origin("roc.fpr|tpr", "curve", bins, roc, "n"),
        Origin("calibration.*.n", "cases", bins, drawn),
        Origin("calibration.*.predicted", "mean score", bins, drawn, "n"),
        Origin("calibration.*.observed", "proportion", f"{bins}; Wilson's interval", drawn, "n"),
        Origin("calibration_intercept", "log odds", f"{LINE}; {pooled}", fitted, "n"),
        Origin("calibration_slope", "slope", f"{LINE}; {pooled}", fitted, "n"),
        Origin("calibration_curve.p_not_straight", "p", f"{CURVE}; {bins}", fitted, "n"),
        Origin("calibration_curve.score|knots", "score", f"{CURVE}; {bins}", drawn),
        Origin("calibration_curve.observed|low|high", "share", f"{CURVE}; {bins}", drawn, "n"),
    )


TOLD = "told by the external sites in bins, as far as they let scores leave, added up"
TEST = ("roc", "auc", "subgroups", "#summary")
SPLITS = (
    *under(
        "models.*.external_test",
        performance("{external}", "{external}", TOLD, "performance-external_test", TEST),
    ),
    *under(
        "models.*.internal_test",
        performance(BINS, COUNTS, BINS, "performance-internal_test", TEST),
    ),
    *under("models.*.*", performance(BINS, COUNTS, BINS, "performance-{1}")),
)

HOSPITAL = "external-{0}"
EXTERNAL = (
    *under("external_sites.*.*", performance(INSIDE, INSIDE, INSIDE, HOSPITAL, ("auc-sites",))),
    Origin("external_looks.*.looks", "times", "counted by {0} itself", ("#performance",)),
)

CHECKED = "compared with one table of all rows, computed by other formulas"
VERIFICATION = (
    Origin("tolerance", "difference", "fixed in trifed", ("verification", "#summary")),
    Origin("checks.*.largest_difference", "difference", CHECKED, ("verification",)),
)

BETWEEN = {
    "internal_test": "the sites' counts in bins, then sums of placements; DeLong's covariance",
    "external_sites.*": "computed inside {0} at full precision; DeLong's covariance",
}


ONLY = "only_first_right|only_second_right"
DECIDED = "counts of the two models' decisions at their frozen thresholds, by label"
MOVED = "sums and products of the two models' probabilities, by label"


def _compared(cohort: str, how: str) -> tuple[Origin, ...]:
    """The models' differences on one cohort, its name the first star or given."""
    prefix = f"comparisons.{cohort}"
    table = ("comparisons-{0}" if "*" in cohort else f"comparisons-{cohort}",)
    limit = "from the standard error found"
    moves = (table[0].replace("comparisons", "reclassification"),)
    return (
        Origin(f"{prefix}.n|n_positive|n_left_out", "cases", "counted by the sites", table),
        Origin(f"{prefix}.auc.*", "AUC", how, (), "n"),
        Origin(f"{prefix}.pairs.*.difference", "difference of AUCs", how, table, "n"),
        Origin(f"{prefix}.pairs.*.z", "z", f"{how}; DeLong's test", table, "n"),
        Origin(f"{prefix}.pairs.*.p", "P value", f"{how}; DeLong's test", table, "n"),
        Origin(f"{prefix}.pairs.*.p_holm", "P value", "Holm's, over the table's pairs", table, "n"),
        Origin(f"{prefix}.pairs.*.mcnemar.{ONLY}", "cases", DECIDED, moves, "n"),
        Origin(f"{prefix}.pairs.*.mcnemar.p", "P value", "McNemar's exact test", moves, "n"),
        Origin(f"{prefix}.pairs.*.nri", "NRI", DECIDED, moves, "n"),
        Origin(f"{prefix}.pairs.*.nri.p", "P value", f"{DECIDED}; Wald's test", (), "n"),
        Origin(f"{prefix}.pairs.*.idi", "IDI", MOVED, moves, "n"),
        Origin(f"{prefix}.pairs.*.idi.p", "P value", f"{MOVED}; Wald's test", (), "n"),
        Origin(
            f"{prefix}.pairs.*.least_significant|least_powered",
            *("difference of AUCs", limit, ("#performance",), "n"),
        ),
    )


COMPARISONS = tuple(origin for cohort, how in BETWEEN.items() for origin in _compared(cohort, how))

PAIRED = "all runs' scores of the same patients in the simulation; DeLong's covariance"
AUCS, GAPS = ("baselines-auc-{0}", "baselines"), ("baselines-gaps-{0}", "baselines")
LEFT, PAIRS = ("baselines-left-out",), ("baselines-{1}",)
TESTED = "internal_test"


def _contrast(pattern: str, where: tuple[str, ...], n: str) -> tuple[Origin, ...]:
    """A difference of AUCs with its interval and test."""
    return (
        Origin(pattern, "difference of AUCs", PAIRED, where, n),
        Origin(f"{pattern}.z", "z", f"{PAIRED}; DeLong's test", (), n),
        Origin(f"{pattern}.p", "P value", f"{PAIRED}; DeLong's test", where, n),
    )


BASELINES = (
    Origin("format", "version", "the form of the file"),
    Origin("study.seed", "setting", GIVEN),
    Origin("confidence_level", "share", GIVEN),
    Origin(
        "runs.*.n_train|n_train_positive", "cases", "counted in the simulation", ("baselines-runs",)
    ),
    Origin("splits.*.*.n|n_positive|n_missing", "cases", "counted in the simulation", AUCS),
    Origin("splits.*.*.auc.*", "AUC", PAIRED, AUCS, "n"),
    *_contrast("splits.*.*.gaps.*", GAPS, "n"),
    *_contrast("branches.*.*.gaps.*", PAIRS, ""),
    Origin("left_out.*.*.n|n_positive", "cases", "counted in the simulation", LEFT),
    Origin(f"left_out.*.*.{TESTED}.n|n_positive", "cases", "counted in the simulation", LEFT),
    Origin("left_out.*.*.auc", "AUC", PAIRED, LEFT, "n"),
    Origin(f"left_out.*.*.{TESTED}.auc|federated", "AUC", PAIRED, LEFT, "n"),
    *_contrast(f"left_out.*.*.{TESTED}.gap", (), "n"),
)

MODELS = (
    *under("fusion", FUSION),
    *CONTRIBUTIONS,
    *SPLITS,
    *EXTERNAL,
    *COMPARISONS,
    *under("verify", VERIFICATION),
    *under("baselines", BASELINES),
)
