"""The draft's Results: what `numbers.json` says was found."""

from collections.abc import Iterator, Mapping
from typing import Any

from server.report.draft.sentence import place
from server.report.words import Results, evaluated, headline_model, inside, listed, name

SPLITS = {"internal_test": "the internal test", "external_test": "the external test"}


def found(results: Results) -> dict[str, list[str]]:
    """Sentences of each part of the Results, with places for their numbers."""
    return {
        "Patients": list(_patients(results)),
        "Radiomics features": list(_features(results)),
        "Clinical predictors": list(_clinical(results)),
        "Performance": list(_performance(results)),
        "What drives the fusion layer": list(_contributions(results)),
        "Subgroups": list(_subgroups(results)),
        "Comparison of models": list(_comparisons(results)),
        "Calibration": list(_calibration(results)),
        "Differences between sites": list(_sites(results)),
    }


def _patients(results: Results) -> Iterator[str]:
    sites: Mapping[str, Any] = (results.get("cohort") or {}).get("sites") or {}
    for site, value in sites.items():
        n = place("cohort", "sites", site, "n_cases", form="count")
        out = place("cohort", "sites", site, "n_excluded", form="count")
        yield f"{name(site)} ({value.get('role')}) had {n} patients, after {out} were set aside."
        for phase in value.get("acquisition") or {}:
            keys = ("cohort", "sites", site, "acquisition", phase)
            pairs = [
                (place(*keys, of, "mean", form="two"), place(*keys, of, "sd", form="two"))
                for of in ("in_plane_mm", "slice_mm")
            ]
            plane, between = (f"{mean} mm (SD {sd})" for mean, sd in pairs)
            yield f"Its {phase} images had a spacing of {plane} in the plane and {between} across."
    model = headline_model(results) or ""
    for split in ((results.get("models") or {}).get(model)) or {}:
        n = place("models", model, split, "n", form="count")
        positive = place("models", model, split, "n_positive", form="count")
        yield f"The {inside(split)} split had {n} patients, {positive} of them positive."


def _features(results: Results) -> Iterator[str]:
    n = [
        place("radiomics", key, form="count")
        for key in ("n_features", "n_screened", "n_after_pruning")
    ]
    stable = place("radiomics", "stability", "n_kept", form="count")
    read = place("radiomics", "stability", "n_features", form="count")
    yield f"Of {read} features {stable} were stable."
    yield f"Of {n[0]} features {n[1]} passed the screening and {n[2]} were left after pruning."
    kept = [
        str(feature["feature"]) for feature in (results.get("radiomics") or {}).get("kept") or []
    ]
    told = [
        f"“{feature.replace('__', ' ')}”, coefficient "
        f"{place('radiomics', 'kept', feature, 'coefficient', form='three')}"
        for feature in kept
    ]
    if told:
        yield f"The LASSO kept: {'; '.join(told)}."


def _clinical(results: Results) -> Iterator[str]:
    for row in (results.get("clinical") or {}).get("coefficients") or []:
        predictor = str(row["predictor"])
        if predictor != "intercept":
            at = ("clinical", "coefficients", predictor)
            odds, p = place(*at, "odds_ratio", form="two"), place(*at, "p", form="p")
            yield f"{name(predictor)} had an odds ratio of {odds}, p {p}."


def _performance(results: Results) -> Iterator[str]:
    for split, words in SPLITS.items():
        models = evaluated(results, split)
        told = [
            f"{inside(model)} {place('models', model, split, 'auc', form='share')}"
            for model, value in models.items()
            if value.get("auc") is not None
        ]
        if told:
            yield f"AUCs on {words} were: {'; '.join(told)}."
        model = headline_model(results) or ""
        if model in models:
            at = ("models", model, split)
            rates = [
                f"{key} {place(*at, key, form='share')}" for key in ("sensitivity", "specificity")
            ]
            threshold = place(*at, "threshold", form="share")
            yield f"At its threshold of {threshold}, {inside(model)} had there {listed(rates)}."


def _contributions(results: Results) -> Iterator[str]:
    added = results.get("contributions") or {}
    cohorts: dict[tuple[str, ...], tuple[Mapping[str, Any], str]] = {
        ("internal_test",): (added.get("internal_test") or {}, "the internal test")
    }
    for site, told in (added.get("external_sites") or {}).items():
        cohorts["external_sites", site] = (told, f"the patients of {site}")
    for path, (told, words) in cohorts.items():
        sizes = [
            f"{inside(each['name'])} "
            f"{place('contributions', *path, 'sources', each['name'], 'mean_absolute', form='two')}"
            for each in told.get("sources") or []
        ]
        if sizes:
            told_of = "; ".join(sizes)
            yield f"On {words} inputs moved the fusion layer's logit on average by: {told_of}."


def _subgroups(results: Results) -> Iterator[str]:
    divided, model = results.get("subgroups") or {}, headline_model(results) or ""
    for split, words in SPLITS.items():
        for column, told in (divided.get(split) or {}).items():
            at = ("subgroups", split, column, "models", model)
            groups = ((told.get("models") or {}).get(model) or {}).get("groups") or []
            aucs = [
                f"“{group['name']}” {place(*at, 'groups', group['name'], 'auc', form='share')}"
                for group in groups
                if group["auc"] is not None
            ]
            if aucs:
                yield f"On {words} AUCs of {inside(model)} by “{column}” were: {'; '.join(aucs)}."
            p = place(*at, "between", "p", form="p")
            yield f"Between these subgroups Cochran's Q had a p of {p}."


def _comparisons(results: Results) -> Iterator[str]:
    compared = results.get("comparisons") or {}
    main = compared.get("main") or []
    cohorts: dict[tuple[str, ...], tuple[Any, str]] = {
        ("internal_test",): (compared.get("internal_test"), "the internal test")
    }
    for site, told in (compared.get("external_sites") or {}).items():
        cohorts["external_sites", site] = (told, f"the external patients of {site}")
    for path, (told, words) in cohorts.items():
        for pair in (told or {}).get("pairs") or []:
            if [pair["first"], pair["second"]] == list(main):
                yield _main(("comparisons", *path), pair, words)


def _main(path: tuple[str, ...], pair: Mapping[str, Any], words: str) -> str:
    at = (*path, "pairs", f"{pair['first']}-{pair['second']}")
    n = place(*path, "n", form="count")
    difference = place(*at, "difference", form="share")
    p, holm = place(*at, "p", form="p"), place(*at, "p_holm", form="p")
    least = place(*at, "least_significant", form="share")
    return (
        f"On {words} ({n} patients) the AUC of {inside(pair['first'])} less that of "
        f"{inside(pair['second'])} was {difference}, p {p}, after Holm's adjustment {holm}; with "
        f"these patients a difference below {least} cannot be told from none."
    )


def _calibration(results: Results) -> Iterator[str]:
    model = headline_model(results) or ""
    for split, words in SPLITS.items():
        at = ("models", model, split)
        ratio, brier = (
            place(*at, "observed_expected", form="two"),
            place(*at, "brier", form="share"),
        )
        yield (
            f"On {words} {inside(model)} had observed over expected positives of {ratio} and a "
            f"Brier score of {brier}."
        )
    for site in results.get("external_sites") or {}:
        at = ("external_sites", site, model)
        intercept = place(*at, "calibration_intercept", form="two")
        slope = place(*at, "calibration_slope", form="two")
        yield f"At {site} its calibration intercept was {intercept} and its slope {slope}."


def _sites(results: Results) -> Iterator[str]:
    at = ("radiomics", "site_differences")
    share, expected = place(*at, "share", form="percent"), place(*at, "expected", form="percent")
    yield f"Between training sites {share} of the features differed ({expected} by chance alone)."
    balanced = place(*at, "balanced_accuracy", form="percent")
    chance = place(*at, "chance", form="percent")
    yield (
        f"A discriminant assigned {balanced} of the tune patients to their own hospital ({chance} "
        "by guessing)."
    )
    for site in results.get("external_looks") or {}:
        looks = place("external_looks", site, "looks", form="count")
        yield f"The frozen models were shown to the patients of {site} this many times: {looks}."
