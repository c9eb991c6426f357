"""What the run knows of its methods: size, measures, intervals, comparisons, software, privacy."""

from server.report.checklists.answers.run import SETTINGS, Answer, Answerer, Run, of_settings
from server.report.words import count, evaluated, level, listed, plural, share
from shared.config import Study

TESTS = ("tables/performance-internal_test.csv", "tables/performance-external_test.csv")


def _sample_size(run: Run) -> Answer | None:
    found = run.part("fusion").get("budget") or {}
    if not found:
        return None
    verdict = "suffice" if found["suffices"] else "do NOT suffice"
    text = (
        f"Development, by Riley et al. at an anticipated AUC of {share(found['anticipated_auc'])}: "
        f"the {count(found['n_cases'])} cases of the fusion layer {verdict} for its "
        f"{count(found['n_parameters'])} candidate parameters ({count(found['allowed'])} allowed)"
    )
    return Answer(text, ("tables/fusion-cases.csv",))


def _internal_method(run: Run) -> Answer | None:
    found = evaluated(run.results, "internal_test")
    if not found:
        return None
    n = count(next(iter(found.values())).get("n"))
    text = (
        f"Held-out internal test of {n} patients of the training sites, who had no part in any "
        "fit or choice"
    )
    return Answer(text, TESTS[:1])


def _external_method(run: Run) -> Answer:
    looks = run.part("external_looks")
    if not looks:
        return Answer("None: the study has no external site", (SETTINGS,))
    told = [f"{site} ({plural(v.get('looks') or 0, 'look')})" for site, v in looks.items()]
    text = f"Frozen models at {listed(told)}, which took part in nothing before"
    return Answer(text, (TESTS[1], "report.html#performance"))


def _measures(run: Run, study: Study) -> Answer:
    told = [
        "AUC and ROC curve",
        "at the frozen threshold accuracy, sensitivity, specificity, predictive values, F1, "
        "Youden's J and Matthews' correlation",
        "calibration by Brier score, observed over expected and curve, at external sites also "
        "intercept and slope",
    ]
    chosen = study.evaluation.decision_thresholds
    if chosen:
        told.append(f"net benefit from threshold {share(chosen.low)} to {share(chosen.high)}")
    figures = ("figures/roc", "figures/calibration", "figures/decision")
    return Answer("; ".join(told), (*TESTS, *figures) if run.part("models") else (SETTINGS,))


def _intervals(run: Run) -> Answer | None:
    methods = run.part("interval_methods")
    if not methods:
        return None
    told = ", ".join(f"{what} {how}" for what, how in methods.items())
    return Answer(f"{level(run.results)} confidence intervals: {told}", TESTS)


def _comparison_method(run: Run) -> Answer | None:
    found = run.part("comparisons")
    if not found:
        return None
    sites = found.get("external_sites") or {}
    names = ["internal_test", *(site for site, told in sites.items() if told)]
    if not found.get("internal_test"):
        names = names[1:]
    if not names:
        return Answer("Models were not compared: too few patients to be told of", ("results.json",))
    text = (
        "Differences of AUCs on the same patients, for all pairs of models, with DeLong's test "
        "and Holm's adjustment within each cohort"
    )
    return Answer(text, tuple(f"tables/comparisons-{place}.csv" for place in names))


def _heterogeneity_method(run: Run) -> Answer | None:
    found = run.part("radiomics").get("site_differences") or {}
    if found.get("share") is None:
        return None
    text = (
        f"Between training sites {found['share']:.0%} of the features differ (analysis of variance,"
        f" p < 0.05; {found['expected']:.0%} by chance)"
    )
    if found.get("balanced_accuracy") is not None:
        text += (
            f"; a discriminant assigns {found['balanced_accuracy']:.0%} of the tune patients to "
            f"their hospital ({found['chance']:.0%} by guessing)"
        )
    text += "; each external site's performance is reported by itself"
    return Answer(text, ("report.html#radiomics",))


def _robustness(run: Run) -> Answer | None:
    told, where = [], []
    if run.part("baselines").get("splits"):
        told.append("the study again on each site alone, on all pooled and on all sites but one")
        where.append("report.html#baselines")
    if run.part("radiomics").get("stability"):
        told.append("features read again under other masks")
        where.append("report.html#radiomics")
    return Answer("; ".join(told), tuple(where)) if told else None


def _explanation(run: Run) -> Answer | None:
    found = {key: value for key, value in run.part("explanations").items() if value}
    added = (run.part("contributions").get("internal_test") or {}).get("columns")
    told, where = list[str](), list[str]()
    if found:
        methods = {"grad_cam": "Grad-CAM", "occlusion": "occlusion"}
        how = listed(sorted({methods[value["method"]] for value in found.values()}))
        n = next(iter(found.values()))["n"]
        told.append(f"where the networks look, by {how}, on {count(n)} internal test patients")
        where += ["tables/explanations.csv", *(f"figures/heat-{network}" for network in found)]
    if added:
        told.append("what each input adds to the fusion layer's logits, by linear SHAP")
        where += ["tables/fusion-contributions.csv", "figures/contributions"]
    if not told:
        return None
    told.append("coefficients of the fusion layer and the clinical model")
    layers = ("tables/fusion-layer.csv", "tables/clinical-model.csv")
    text = "; ".join(told)
    return Answer(text[:1].upper() + text[1:], (*where, *layers))


def _software(run: Run) -> Answer | None:
    versions = run.part("versions")
    if not versions:
        return None
    told = ", ".join(f"{library} {version}" for library, version in versions.items())
    return Answer(told, ("report.html#top", "results.json"))


def _code(run: Run) -> Answer | None:
    found = run.results.get("code_hash")
    text = f"trifed (Apache-2.0), SHA-256 of its source {found}; the study file study.yaml"
    return Answer(text, ("results.json", "study.yaml")) if found else None


def _what_left(run: Run) -> Answer | None:
    if not run.results.get("disclosed"):
        return None
    text = "No image and no patient's identifier left a hospital; what did is listed by stage"
    return Answer(text, ("tables/disclosed.csv",))


METHODS: dict[str, Answerer] = {
    "sample_size": _sample_size,
    "internal_method": _internal_method,
    "external_method": _external_method,
    "measures": of_settings(_measures),
    "intervals": _intervals,
    "comparison_method": _comparison_method,
    "heterogeneity_method": _heterogeneity_method,
    "robustness": _robustness,
    "explanation": _explanation,
    "software": _software,
    "code": _code,
    "what_left": _what_left,
}
