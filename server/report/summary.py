"""The summary: what the study found, in sentences that claim no more than the intervals allow."""

from collections.abc import Mapping, Sequence
from typing import Any

from server.report.words import (
    DASH,
    TEST_SPLITS,
    Results,
    count,
    evaluated,
    headline_model,
    inside,
    interval,
    is_number,
    level,
    listed,
    name,
    plural,
    scientific,
    share,
    split_name,
    with_interval,
)

ENOUGH = 100


def summary(results: Results) -> list[str]:
    """The summary's paragraphs."""
    paragraphs = [_who(results)]
    for split in reversed(TEST_SPLITS):
        paragraphs += _performance(results, split)
    if len(paragraphs) == 1:
        paragraphs.append("No model was evaluated on a test split.")
    return [*paragraphs, *_size_warning(results), *_verified(results)]


def tiles(results: Results) -> list[tuple[str, str, str]]:
    """The numbers a reader looks for first: what, the number, its interval or size."""
    sites = ((results.get("cohort") or {}).get("sites") or {}).values()
    found = []
    for role in ("training", "external"):
        n = [site.get("n_cases") for site in sites if site.get("role") == role]
        if n:
            total = count(sum(n)) if all(map(is_number, n)) else DASH
            found.append(
                (f"{name(role)} cases", total, f"{len(n)} {'site' if len(n) == 1 else 'sites'}")
            )
    model = headline_model(results)
    for split in TEST_SPLITS:
        value = evaluated(results, split).get(model or "")
        if value:
            what = f"{name(model or '')} AUC, {split_name(split).lower()}"
            bounds = f"{level(results)} CI {interval(value.get('auc_ci'))}"
            found.append((what, share(value.get("auc")), bounds))
    return found


def _who(results: Results) -> str:
    sites = (results.get("cohort") or {}).get("sites") or {}
    parts = []
    for role in ("training", "external"):
        found = [site for site in sites.values() if site.get("role") == role]
        if found:
            numbers = [site.get("n_cases") for site in found]
            total = sum(numbers) if all(map(is_number, numbers)) else None
            parts.append(f"{plural(len(found), f'{role} site')} (n = {count(total)})")
    imaged = {site.get("features_from", "images") for site in sites.values()} != {"elsewhere"}
    phases = results.get("phases") or [] if imaged else []
    text = listed(parts)
    text = f"{text[:1].upper()}{text[1:]} took part." if parts else "No site is on record."
    if phases:
        text += f" The models read {plural(len(phases), 'CT phase')}: {listed(phases)}."
    endpoint = results.get("endpoint") or {}
    if endpoint.get("name"):
        positive, negative = (listed(endpoint.get(k) or [DASH]) for k in ("positive", "negative"))
        text += f" The endpoint is {endpoint['name']} (positive: {positive}; negative: {negative})."
    return text


def _performance(results: Results, split: str) -> list[str]:
    found, model = evaluated(results, split), headline_model(results)
    value = found.pop(model, None) if model else None
    if not value:
        return []
    place = {"external_test": "external cohort", "internal_test": "internal test split"}[split]
    n = f"n = {count(value.get('n'))}, {count(value.get('n_positive'))} positive"
    start = f"On the {place} ({n}) the {inside(model or '')} model"
    if not is_number(value.get("auc")):
        return [f"{start} has no AUC: it is not defined on these cases."]
    ci = f"{level(results)} CI {interval(value.get('auc_ci'))}"
    text = f"{start} reached AUC {share(value['auc'])} ({ci})."
    text += _at_threshold(value) + _against_chance(value)
    return [text + _against_others(value, found)]


def _at_threshold(value: Mapping[str, Any]) -> str:
    parts = []
    for metric in ("sensitivity", "specificity"):
        entry = value.get(metric) or {}
        if is_number(entry.get("value")):
            parts.append(f"{metric} {with_interval(entry['value'], entry.get('ci'))}")
    if not parts or not is_number(value.get("threshold")):
        return ""
    origin = f" ({value['threshold_from']})" if value.get("threshold_from") else ""
    return f" At the threshold {share(value['threshold'])}{origin}: {listed(parts)}."


def _against_chance(value: Mapping[str, Any]) -> str:
    bounds = value.get("auc_ci") or []
    if len(bounds) == 2 and all(map(is_number, bounds)) and bounds[0] <= 0.5 <= bounds[1]:
        return " The interval includes .50, which is no discrimination at all."
    return ""


def _against_others(value: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]) -> str:
    alike: list[str] = []
    apart: list[str] = []
    for model, other in others.items():
        if is_number(other.get("auc")) and other.get("auc_ci") and value.get("auc_ci"):
            text = f"{inside(model)} {with_interval(other['auc'], other['auc_ci'])}"
            (alike if _overlap(value["auc_ci"], other["auc_ci"]) else apart).append(text)
    text = ""
    if alike:
        text += (
            f" The interval overlaps {_those('that', alike)} of {listed(alike)}: these data do not "
            "show which model is better."
        )
    if apart:
        text += (
            f" It does not overlap {_those('that', apart)} of {listed(apart)}; a paired test on "
            "the same cases, not made here, would be the formal comparison."
        )
    return text


def _those(word: str, items: Sequence[str]) -> str:
    return word if len(items) == 1 else "those"


def _overlap(one: Sequence[Any], other: Sequence[Any]) -> bool:
    if not all(map(is_number, [*one, *other])):
        return True
    return bool(one[0] <= other[1] and other[0] <= one[1])


def _size_warning(results: Results) -> list[str]:
    model = headline_model(results) or ""
    small = []
    for split in reversed(TEST_SPLITS):
        value = evaluated(results, split).get(model) or {}
        n, positive = value.get("n"), value.get("n_positive")
        if is_number(n) and is_number(positive) and min(positive, n - positive) < ENOUGH:
            sizes = f"{count(positive)} positive and {count(n - positive)} negative cases"
            small.append(f"the {split_name(split).lower()} has {sizes}")
    if not small:
        return []
    return [
        f"Read these numbers with care: {listed(small)}, where guidance asks for at least "
        f"{ENOUGH} of each to evaluate a prediction model (Vergouwe 2005; Collins 2016)."
    ]


def _verified(results: Results) -> list[str]:
    verify = results.get("verify") or {}
    if verify.get("passed") is None:
        return []
    checks = [check.get("largest_difference") for check in verify.get("checks") or []]
    largest = max((value for value in checks if is_number(value)), default=None)
    if verify["passed"]:
        return [
            "The federated statistics were compared with those of one pooled table: they are "
            f"equal within {scientific(verify.get('tolerance'))} (largest difference "
            f"{scientific(largest)})."
        ]
    return [
        "The federated statistics differ from those of one pooled table by up to "
        f"{scientific(largest)}, more than the tolerance of {scientific(verify.get('tolerance'))}: "
        "do not use these results before the cause is found."
    ]
