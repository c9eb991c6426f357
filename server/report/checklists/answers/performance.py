"""What the run found on its test splits, as the checklists ask it."""

from collections.abc import Mapping
from typing import Any

from server.report.checklists.answers.run import Answer, Answerer, Run, aucs
from server.report.words import (
    TEST_SPLITS,
    count,
    evaluated,
    headline_model,
    inside,
    key,
    level,
    listed,
    name,
    number,
    split_name,
    thousandths,
    with_interval,
)

REGRESSIONS = ("clinical", "radiomics", "fusion")


def _table(split: str) -> str:
    return f"tables/performance-{split}.csv"


def _internal_results(run: Run) -> Answer | None:
    told = aucs(run.results, "internal_test")
    if not told:
        return None
    text = f"Internal test, AUC ({level(run.results)} CI): {told}"
    return Answer(text, (_table("internal_test"), "figures/roc"))


def _external_results(run: Run) -> Answer | None:
    told = aucs(run.results, "external_test")
    if told:
        text = f"External test, AUC ({level(run.results)} CI): {told}"
        return Answer(text, (_table("external_test"), "figures/roc"))
    by_site = _by_site(run)
    if not by_site:
        return Answer("None: the models were tested at no external site", ("results.json",))
    return _of_sites(run, by_site)


def _by_site(run: Run) -> Mapping[str, Mapping[str, Any]]:
    return {site: found for site, found in run.part("external_sites").items() if found}


def _results_by_site(run: Run) -> Answer | None:
    found = _by_site(run)
    return _of_sites(run, found) if len(found) > 1 else None


def _of_sites(run: Run, found: Mapping[str, Mapping[str, Any]]) -> Answer:
    model = headline_model(run.results) or "fusion"
    told = [
        f"{site} {with_interval(value[model].get('auc'), value[model].get('auc_ci'))}"
        for site, value in found.items()
        if model in value
    ]
    text = f"{name(model)}, AUC ({level(run.results)} CI) by external site: {', '.join(told)}"
    return Answer(text, tuple(f"tables/external-{key(site)}.csv" for site in found))


def _subgroup_results(run: Run) -> Answer | None:
    found = run.part("subgroups")
    columns = [inside(each["column"]) for each in found.get("columns") or []]
    where = tuple(
        f"tables/subgroups-{split}.csv"
        for split in TEST_SPLITS
        if any(part["models"] for part in (found.get(split) or {}).values())
    )
    if not where:
        return None
    text = (
        f"AUC, sensitivity and specificity of every model in subgroups by {listed(columns)}, named "
        "in the study file beforehand"
    )
    return Answer(text, (*where, "figures/subgroups"))


def _headline(run: Run) -> dict[str, Mapping[str, Any]]:
    """The headline model on each test split that it was evaluated on."""
    model = headline_model(run.results) or ""
    found = {split: evaluated(run.results, split).get(model) for split in TEST_SPLITS}
    return {split: value for split, value in found.items() if value}


def _calibration(run: Run) -> Answer | None:
    told = []
    for split, value in _headline(run).items():
        ratio = (value.get("observed_expected") or {}).get("value")
        brier = thousandths(value.get("brier"))
        told.append(f"{split_name(split).lower()} O/E {number(ratio)}, Brier score {brier}")
    if not told:
        return None
    text = f"{name(headline_model(run.results) or '')}: {'; '.join(told)}"
    sites = tuple(f"tables/external-{key(site)}.csv" for site in _by_site(run))
    where = tuple(_table(split) for split in _headline(run))
    return Answer(text, (*where, "figures/calibration", *sites))


def _diagnostic(run: Run) -> Answer | None:
    told = []
    for split, value in _headline(run).items():
        rates = [
            f"{what} {with_interval(found.get('value'), found.get('ci'))}"
            for what in ("sensitivity", "specificity")
            if (found := value.get(what) or {})
        ]
        told.append(f"{split_name(split).lower()} {listed(rates)}")
    if not told:
        return None
    text = f"{name(headline_model(run.results) or '')} at its threshold: {'; '.join(told)}"
    return Answer(text, tuple(_table(split) for split in _headline(run)))


def _confusion(run: Run) -> Answer | None:
    told = []
    for split, value in _headline(run).items():
        n = value.get("counts") or {}
        if n:
            told.append(
                f"{split_name(split).lower()} {count(n['fp'])} false positive and "
                f"{count(n['fn'])} false negative of {count(value.get('n'))}"
            )
    if not told:
        return None
    text = f"{name(headline_model(run.results) or '')} at its threshold: {'; '.join(told)}"
    return Answer(text, ("results.json",))


def _non_radiomic(run: Run) -> Answer | None:
    return _against(run, REGRESSIONS, "Clinical, radiomics and both")


def _simple_models(run: Run) -> Answer | None:
    branches = [model for model in run.part("models") if model not in REGRESSIONS]
    against = ("clinical", "radiomics", *branches)
    return (
        _against(run, against, "Regressions beside the networks")
        if branches
        else Answer("Every model of the study is a regression", ("report.html#performance",))
    )


def _against(run: Run, models: tuple[str, ...], what: str) -> Answer | None:
    told, where = [], []
    for split in TEST_SPLITS:
        found = evaluated(run.results, split)
        if all(model in found for model in models):
            each = ", ".join(
                f"{inside(model)} {with_interval(value.get('auc'), value.get('auc_ci'))}"
                for model, value in found.items()
                if model in models
            )
            told.append(f"{split_name(split).lower()} {each}")
            where.append(_table(split))
    if not told:
        return None
    compared = [f"tables/comparisons-{place}.csv" for place in ("internal_test", *_by_site(run))]
    return Answer(f"{what}, AUC: {'; '.join(told)}", (*where, *compared))


PERFORMANCE: dict[str, Answerer] = {
    "internal_results": _internal_results,
    "external_results": _external_results,
    "results_by_site": _results_by_site,
    "subgroup_results": _subgroup_results,
    "calibration": _calibration,
    "diagnostic": _diagnostic,
    "confusion": _confusion,
    "non_radiomic": _non_radiomic,
    "simple_models": _simple_models,
}
