"""What the run knows of its patients: who took part, in which split, with which outcome."""

from collections.abc import Mapping
from itertools import repeat
from typing import Any

from server.report.acquisition import CENSUS_WORDS, SPACING_WORDS, census_words, spacing_words
from server.report.checklists.answers.run import SETTINGS, Answer, Answerer, Run, of_settings
from server.report.words import DASH, SPLIT_NAMES, count, is_number, listed, name, plural
from shared.config import Study

SITES = "tables/sites.csv"
ROLES = {"training": "training", "external": "external", "added external": "added external"}


def _sites(run: Run) -> Mapping[str, Mapping[str, Any]]:
    found: Mapping[str, Mapping[str, Any]] = run.part("cohort").get("sites") or {}
    return found


def _participants(run: Run) -> Answer | None:
    parts = []
    for role, words in ROLES.items():
        found = {site: v.get("n_cases") for site, v in _sites(run).items() if v.get("role") == role}
        if found:
            n = list(found.values())
            total = count(sum(filter(is_number, n))) if all(map(is_number, n)) else DASH
            each = ", ".join(f"{site} {count(n)}" for site, n in found.items())
            parts.append(f"{total} patients at {plural(len(found), f'{words} site')} ({each})")
    return Answer(listed(parts), (SITES,)) if parts else None


def _excluded(run: Run) -> Answer | None:
    told = []
    for site, value in _sites(run).items():
        reasons = (value.get("exclusion_reasons") or {}).items()
        why = f" ({', '.join(f'{reason}: {count(n)}' for reason, n in reasons)})" if reasons else ""
        told.append(f"{site} {count(value.get('n_excluded'))}{why}")
    text = f"Set aside by the software: {', '.join(told)}"
    return Answer(text, (SITES, "figures/flow")) if told else None


def _steps(run: Run) -> Answer | None:
    text = "Every step, with what each hospital computes, what leaves it and what the server does"
    return Answer(text, ("figures/design",)) if run.part("models") else None


def _acquisition(run: Run) -> Answer | None:
    told = []
    for site, value in _sites(run).items():
        for phase, found in (value.get("acquisition") or {}).items():
            parts = [part for part in map(spacing_words, SPACING_WORDS, repeat(found)) if part]
            parts += [part for part in map(census_words, CENSUS_WORDS, repeat(found)) if part]
            if parts:
                told.append(f"{site}, {phase}: {'; '.join(parts)}")
    text = f"From the images' headers, mean (SD) or number of images. {'. '.join(told)}"
    return Answer(text, ("tables/acquisition.csv",)) if told else None


def _by_split(run: Run) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for site in _sites(run).values():
        for split, value in (site.get("splits") or {}).items():
            found.setdefault(split, []).append(value)
    return {split: found[split] for split in SPLIT_NAMES if split in found}


def _total(parts: list[Mapping[str, Any]], key: str) -> float | None:
    n = [part.get(key) for part in parts]
    return sum(filter(is_number, n)) if all(map(is_number, n)) else None


def _splits(run: Run) -> Answer | None:
    told = [
        f"{SPLIT_NAMES[split].lower()} {count(_total(parts, 'n'))} patients "
        f"({count(_total(parts, 'n_positive'))} positive)"
        for split, parts in _by_split(run).items()
    ]
    return Answer(", ".join(told), (SITES,)) if told else None


def _outcome_shares(run: Run) -> Answer | None:
    told = []
    for split, parts in _by_split(run).items():
        n, positive = _total(parts, "n"), _total(parts, "n_positive")
        if n and positive is not None:
            told.append(f"{SPLIT_NAMES[split].lower()} {positive / n:.0%}")
    return Answer(f"Share of positive patients: {', '.join(told)}", (SITES,)) if told else None


def _partition(run: Run, study: Study) -> Answer:  # noqa: ARG001
    shares = study.cohort.splits
    return Answer(
        "The split of a patient is that of the site's manifest where it gives one; else it is "
        "drawn at each training site, within each label, by a hash of seed, site and patient: "
        f"{shares.train:.0%} train, {shares.tune:.0%} tune, {shares.internal_test:.0%} internal "
        f"test (seed {study.seed}). All patients of external sites are external test",
        (SETTINGS, SITES),
    )


def _disjoint(run: Run, study: Study) -> Answer:  # noqa: ARG001
    return Answer(
        "Splits are apart by patient: each has one split, and two patients of a site with the "
        "same images are refused. External sites are apart as hospitals: no stage that fits "
        "anything asks them",
        (SETTINGS,),
    )


def _missing_rule(run: Run, study: Study) -> Answer:
    lacking = {"stop": "is an error", "allow": "is allowed, and its features and branches are"}
    bad = {"stop": "stops the run", "exclude": "is set aside and counted"}
    absent = {
        phase
        for site in _sites(run).values()
        for phase, n in (site.get("missing_phases") or {}).items()
        if n != 0
    }
    phase = lacking[study.cohort.missing_phase]
    if study.cohort.missing_phase == "allow":
        phase += " left blank"
    return Answer(
        "A blank clinical value, feature or embedding stands at the mean of the patients that the "
        f"model was fitted on. A missing phase {phase}; a patient whose files cannot be used "
        f"{bad[study.cohort.on_bad_case]}. Phases missing for some patients: "
        f"{listed(sorted(absent)) if absent else 'none'}",
        (SETTINGS, SITES),
    )


def _endpoint(run: Run) -> Answer | None:
    found = run.part("endpoint")
    if not found.get("name"):
        return None
    positive, negative = (" or ".join(found.get(key) or []) for key in ("positive", "negative"))
    return Answer(f"{found['name']}: positive is {positive}, negative is {negative}", (SETTINGS,))


def _predictors(run: Run, study: Study) -> Answer:  # noqa: ARG001
    names = listed([name(predictor).lower() for predictor in study.clinical.predictors])
    return Answer(f"Clinical predictors: {names}", (SETTINGS, "tables/clinical-model.csv"))


def _baseline(run: Run) -> Answer | None:
    variables = [name(row["variable"]) for row in run.part("cohort").get("table") or []]
    if not variables:
        return None
    text = f"Training sites' patients, all and by label: {', '.join(variables)}"
    return Answer(text, ("tables/characteristics.csv",))


COHORT: dict[str, Answerer] = {
    "participants": _participants,
    "excluded": _excluded,
    "steps": _steps,
    "splits": _splits,
    "outcome_shares": _outcome_shares,
    "partition": of_settings(_partition),
    "disjoint": of_settings(_disjoint),
    "missing_rule": of_settings(_missing_rule),
    "endpoint": _endpoint,
    "predictors": of_settings(_predictors),
    "baseline": _baseline,
    "acquisition": _acquisition,
}
