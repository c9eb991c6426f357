"""Tables of the logistic regressions: odds ratios, and how well each model fits."""

from collections.abc import Mapping
from typing import Any

from server.report.table import Cell, Table, ends, row, shown
from server.report.words import (
    DASH,
    Results,
    count,
    interval,
    is_number,
    level,
    name,
    number,
    odds,
    p_value,
)

METHODS = {"likelihood": "maximum likelihood", "firth": "Firth's penalised likelihood"}
MODELS = {"multivariable": "Multivariable", "by_site": "Multivariable, an intercept for each site"}


def regression_tables(results: Results) -> list[Table]:
    """Odds ratios alone and together; likelihood ratio and AIC of each regression."""
    found = (results.get("clinical") or {}).get("regressions") or {}
    if not found.get("multivariable"):
        return []
    return [_odds_table(found, results), _fit_table(found)]


def _odds_table(found: Mapping[str, Any], results: Results) -> Table:
    alone, together = found.get("univariable") or {}, _by_name(found["multivariable"])
    by_site = _by_name(found.get("by_site"))
    rows = tuple(
        row(
            name(predictor),
            *_odds(_by_name(alone.get(predictor)).get(predictor)),
            *_odds(entry),
            shown(entry.get("vif"), number),
            *_odds(by_site.get(predictor)),
        )
        for predictor, entry in together.items()
    )
    ci = f"OR ({level(results)} CI)"
    columns = (
        *("Predictor", f"Univariable {ci}", "P, univariable"),
        *(f"Multivariable {ci}", "P, multivariable", "VIF"),
        *(f"By site {ci}", "P, by site"),
    )
    notes = (
        "Train split of the training sites; a blank is at the pooled mean. Odds ratios (OR) are "
        "for one unit of the predictor as it stands in the clinical table; intervals and P are "
        "Wald's.",
        "VIF: variance inflation factor in the multivariable model. By site: sensitivity analysis "
        "of the multivariable model with an intercept for each training site"
        + ("." if by_site else "; it could not be estimated."),
        *_firth_notes(found),
    )
    title = "Logistic regression of the clinical predictors"
    return Table("clinical-regression", title, columns, rows, notes)


def _odds(entry: Mapping[str, Any] | None) -> tuple[Cell, Cell]:
    if not entry or not is_number(entry.get("odds_ratio")):
        return Cell(DASH, values={"": None}), Cell(DASH, values={"": None})
    ci = entry["ci"]
    text = f"{odds(entry['odds_ratio'])} ({interval(ci, odds)})"
    values = {"": entry["odds_ratio"], **ends(ci)}
    return Cell(text, values=values), shown(entry.get("p"), p_value)


def _by_name(model: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    return {entry["predictor"]: entry for entry in (model or {}).get("coefficients") or []}


def _each(found: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Every regression under the name that the tables give it."""
    alone = found.get("univariable") or {}
    named = {f"{name(predictor)} alone": model for predictor, model in alone.items()}
    named |= {words: found.get(key) for key, words in MODELS.items()}
    return {words: model for words, model in named.items() if model}


def _firth_notes(found: Mapping[str, Any]) -> list[str]:
    names = [words for words, model in _each(found).items() if model.get("method") == "firth"]
    if not names:
        return []
    return [
        "Labels are separated, so that maximum likelihood has no finite estimate, and Firth's "
        f"penalty is used, in: {'; '.join(names)}. Wald's intervals are rough there."
    ]


def _fit_table(found: Mapping[str, Any]) -> Table:
    rows = []
    for words, model in _each(found).items():
        ratio = model.get("likelihood_ratio") or {}
        rows.append(
            row(
                words,
                METHODS.get(str(model.get("method")), DASH)
                + ("" if model.get("converged") else ", not converged"),
                shown(model.get("n"), count),
                shown(ratio.get("chi2"), number),
                shown(ratio.get("df"), count),
                shown(ratio.get("p"), p_value),
                shown(model.get("aic"), number),
            )
        )
    columns = ("Model", "Method", "n", "LR chi-square", "df", "P, LR", "AIC")
    notes = (
        "LR: likelihood ratio test of all predictors of the model against its intercepts alone. "
        "AIC: Akaike's criterion; lower is better among models of the same cases, and it is not "
        "given with Firth's penalty.",
    )
    title = "Fit of the logistic regressions"
    return Table("clinical-regression-fit", title, columns, tuple(rows), notes, texts=2)
