"""Where the numbers of the radiomics score and of the clinical model are from."""

from server.report.numbers.cohort import GIVEN
from server.report.numbers.origin import Origin, under

TEXT = ("#radiomics",)
COUNTED = "counted by the server"
LOOK = (
    "discriminant of the sites from their sums of the screened features, applied by each site to "
    "its tune cases; only counts were told"
)
ICC = "from each site's sums over its cases that were read more than once, added up"
HALVES = "the LASSO fitted on random halves of the folds, from the sums of the folds"
PRUNED = "correlations from the training sites' summed products; one of each close pair is dropped"
LASSO = ("lasso",)


def _site_differences(after: str, where: tuple[str, ...]) -> tuple[Origin, ...]:
    how = f"analysis of variance between training sites from each site's moments{after}"
    return (
        Origin("n_tested", "features", how),
        Origin("share", "share of features", how, where),
        Origin("expected", "share of features", "what chance alone would give", where),
        Origin("median_eta_squared", "eta squared", how),
    )


def _stability(group: str) -> tuple[Origin, ...]:
    table = (f"stability-{group}",)
    return (
        Origin("*.n|n_kept", "features", ICC, table),
        Origin("*.median_icc", "intraclass correlation", ICC, table),
        Origin("*.share_kept", "share of features", ICC, table),
    )


STABILITY = (
    Origin("min_icc", "setting", GIVEN, TEXT),
    Origin("n_cases", "cases", ICC, TEXT),
    Origin("n_readings", "readings", ICC, TEXT),
    Origin("n_features|n_not_judged|n_kept", "features", ICC, TEXT),
    *under("by_family", _stability("family")),
    *under("by_filter", _stability("filter")),
    Origin("features.*.icc", "intraclass correlation", ICC, n="n"),
    Origin("features.*.n", "cases", ICC),
)

SELECTION = (
    Origin("bin_widths_hu.widths.*", "HU", "{widths}", TEXT),
    Origin("n_features", "features", COUNTED, TEXT),
    Origin("n_screened", "features", "{screen}", TEXT),
    Origin("n_after_pruning", "features", PRUNED, TEXT),
    Origin("screen.bins", "setting", GIVEN),
    Origin("kept.*.coefficient", "coefficient", "{lasso}", ("radiomics",)),
    Origin("kept.*.p", "P value", "{screen}", ("radiomics",)),
    Origin("kept.*.frequency", "share of halves", HALVES, ("radiomics",)),
    Origin("lasso.alphas", "penalty", "steps of the path, set by the server", LASSO),
    Origin("lasso.cv_error", "loss", "{lasso}; mean over the folds left out", LASSO),
    Origin("lasso.cv_se", "standard error", "{lasso}; over the folds left out", LASSO),
    Origin("lasso.path.*.coefficients", "coefficients", "{lasso}", LASSO),
    Origin("lasso.alpha", "penalty", "chosen by the error on the folds left out", LASSO),
    Origin("lasso.n_candidates", "features", COUNTED, ("radiomics",)),
    Origin("lasso.half_samples|min_frequency", "setting", GIVEN, ("radiomics",)),
    Origin("lasso.frequency_alpha", "penalty", "the one penalty of the fits on halves"),
    Origin("site_differences.n_cases|confusion", "cases", LOOK, TEXT),
    Origin("site_differences.balanced_accuracy", "share", LOOK, TEXT, "n_cases"),
    Origin("site_differences.chance", "share", "one over the number of sites", TEXT),
    *under("site_differences", _site_differences("", TEXT)),
    *under("harmonised.site_differences", _site_differences(", after ComBat", TEXT)),
    *under("stability", STABILITY),
)

NEWTON = "logistic regression by Newton steps on the sites' summed score and information"
MODEL = ("clinical-model", "clinical")
FITTED = (
    Origin("n", "cases", "the training sites' counts of train cases, added up"),
    Origin("coefficients.*.coefficient", "log odds", NEWTON, MODEL, "n"),
    Origin("coefficients.*.se", "standard error", f"{NEWTON}; inverse of the information", (), "n"),
    Origin("coefficients.*.odds_ratio", "odds ratio", f"{NEWTON}; Wald's interval", MODEL, "n"),
    Origin("coefficients.*.p", "P value", f"{NEWTON}; Wald's test", MODEL, "n"),
)

BY_FIRTH = f"{NEWTON}; where labels are separated, with Firth's penalty"
ODDS, FIT = ("clinical-regression",), ("clinical-regression-fit",)
ALIKE = (
    Origin("n", "cases", "the training sites' counts of train cases, added up", FIT),
    Origin("iterations", "steps", BY_FIRTH),
    Origin("likelihood_ratio.chi2", "chi-square", f"{BY_FIRTH}; against intercepts alone", FIT),
    Origin("likelihood_ratio.df", "degrees of freedom", "number of predictors", FIT),
    Origin("likelihood_ratio.p", "P value", f"{BY_FIRTH}; likelihood ratio test", FIT, "n"),
    Origin("aic", "AIC", NEWTON, FIT, "n"),
    Origin("coefficients.*.coefficient", "log odds", BY_FIRTH, (), "n"),
    Origin("coefficients.*.se", "standard error", f"{BY_FIRTH}; inverse of the information"),
    Origin("coefficients.*.odds_ratio", "odds ratio", f"{BY_FIRTH}; Wald's interval", ODDS, "n"),
    Origin("coefficients.*.p", "P value", f"{BY_FIRTH}; Wald's test", ODDS, "n"),
    Origin(
        "coefficients.*.vif",
        "variance inflation factor",
        "from the information at coefficients zero, a quarter of the sums of products",
        ODDS,
        "n",
    ),
)
REGRESSIONS = (*under("univariable.*", ALIKE), *under("multivariable|by_site", ALIKE))

RADIOMICS = tuple(under("radiomics", SELECTION))
CLINICAL = tuple(under("clinical", (*FITTED, *under("regressions", REGRESSIONS))))
