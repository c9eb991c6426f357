"""Figures of what was fitted: the branches' rounds, the LASSO, odds ratios, the fusion layer."""

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from server.report.picture import COLOURS, DASHES, GREY, HEADLINE, INK, Panel, Picture
from server.report.words import (
    Results,
    coefficient,
    count,
    inside,
    interval,
    is_number,
    key,
    level,
    name,
    number,
    odds,
)

LARGEST_ODDS = 64.0
ROUNDS_CAPTION = (
    "In each round every training site trained the common weights on its own train split and sent "
    "back weights, a mean loss and a number of cases; the server aggregated the weights. Thin "
    "lines: mean training loss at each site. Thick lines: loss and AUC on the tune split, pooled "
    "over the sites. The dotted vertical line marks the round that was kept, chosen on the tune "
    "split: the tune curve is therefore no test of the network."
)


def training_pictures(results: Results) -> list[Picture]:
    """One picture for each network: loss at each site, and AUC on the tune split."""
    branches = results.get("branches") or {}
    trained = {network: value for network, value in branches.items() if value.get("rounds")}
    return [
        _rounds_picture(network, value, first=place == 0)
        for place, (network, value) in enumerate(trained.items())
    ]


def _rounds_picture(network: str, branch: Mapping[str, Any], *, first: bool) -> Picture:
    rounds, best = branch["rounds"], branch.get("best_round")
    legend_rows = -(-(len(_sites(rounds)) + 1) // 3)
    tall = (3.5, 2.62 + 0.17 * legend_rows)
    panels = [Panel(lambda axes: _draw_loss(axes, rounds, best), f"Loss of {network}", tall)]
    if any(is_number(entry.get("tune_auc")) for entry in rounds):
        label = f"AUC of {network} on the tune split"
        panels.append(Panel(lambda axes: _draw_tune_auc(axes, rounds, best), label, (3.5, 2.55)))
    caption = ROUNDS_CAPTION if first else "As in the figure before."
    caption += f" Round {best} was kept." if is_number(best) else ""
    title = f"Training of {inside(network)}"
    return Picture(f"training-{key(network)}", title, caption, tuple(panels))


def _sites(rounds: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(site for entry in rounds for site in entry.get("sites") or {}))


def _draw_loss(axes: Axes, rounds: Sequence[Mapping[str, Any]], best: object) -> None:
    x = [entry["round"] for entry in rounds]
    sites = _sites(rounds)
    for place, site in enumerate(sites):
        losses = [((entry.get("sites") or {}).get(site) or {}).get("loss") for entry in rounds]
        axes.plot(x, _gaps(losses), color=COLOURS[place % 8], lw=1.0, marker=".", ms=3, label=site)
    if not sites:
        losses = [entry.get("loss") for entry in rounds]
        axes.plot(x, _gaps(losses), color=COLOURS[0], label="train, all sites")
    tune = _gaps([entry.get("tune_loss") for entry in rounds])
    axes.plot(x, tune, color=HEADLINE, lw=2.0, label="tune, pooled")
    _finish_rounds(axes, best, "Loss (cross-entropy)")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)


def _draw_tune_auc(axes: Axes, rounds: Sequence[Mapping[str, Any]], best: object) -> None:
    x, auc = [entry["round"] for entry in rounds], _gaps([e.get("tune_auc") for e in rounds])
    axes.axhline(0.5, color=GREY, lw=0.8, ls=DASHES[1])
    axes.plot(x, auc, color=HEADLINE, lw=2.0, marker="o", ms=3, label="tune, pooled")
    for at, value in zip(x, auc, strict=True):
        if at == best and value == value:
            axes.plot([at], [value], marker="o", ms=8, mfc="none", mec=INK, ls="")
    _finish_rounds(axes, best, "AUC on the tune split")
    axes.set_ylim(min(0.4, *(v - 0.05 for v in auc if v == v)), 1.0)


def _finish_rounds(axes: Axes, best: object, label: str) -> None:
    if is_number(best):
        axes.axvline(best, color=INK, lw=0.9, ls=DASHES[2])
    axes.set(xlabel="Round", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def lasso_pictures(results: Results) -> list[Picture]:
    """The cross-validation curve of the LASSO."""
    lasso = (results.get("radiomics") or {}).get("lasso") or {}
    if not lasso.get("alphas") or not lasso.get("cv_mse"):
        return []
    caption = (
        "Mean squared error of the LASSO over the folds against its penalty; the band is one "
        "standard error either side, the dotted line the penalty that was used. The whole path "
        "was computed by the server from sums and products of features that the training sites "
        "sent for each fold of their train split, which gives what one pooled table would give."
    )
    panel = Panel(lambda axes: _draw_lasso(axes, lasso), "Error against penalty", (5.2, 2.9))
    return [Picture("lasso", "Choice of the LASSO penalty", caption, (panel,), columns=1)]


def _draw_lasso(axes: Axes, lasso: Mapping[str, Any]) -> None:
    alphas, mse, errors = lasso["alphas"], _gaps(lasso["cv_mse"]), _gaps(lasso.get("cv_se") or [])
    if len(errors) == len(mse):
        low = [m - e for m, e in zip(mse, errors, strict=True)]
        high = [m + e for m, e in zip(mse, errors, strict=True)]
        axes.fill_between(alphas, low, high, color=HEADLINE, alpha=0.13, lw=0)
    axes.plot(alphas, mse, color=HEADLINE, marker=".", ms=3)
    if is_number(lasso.get("alpha")):
        axes.axvline(lasso["alpha"], color=INK, lw=0.9, ls=DASHES[2])
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="Penalty (alpha, log scale)", ylabel="Cross-validated error")


def clinical_pictures(results: Results) -> list[Picture]:
    """Odds ratios of the clinical model with their intervals."""
    fitted = (results.get("clinical") or {}).get("coefficients") or []
    rows = [r for r in fitted if is_number(r.get("odds_ratio")) and r["odds_ratio"] > 0]
    rows = [r for r in rows if "intercept" not in str(r["predictor"]).lower()]
    if not rows:
        return []
    caption = (
        f"Odds ratios of the clinical model with {level(results)} confidence intervals, on a log "
        "scale. The model is a logistic regression fitted on the train split by Newton steps: "
        "each site sent its score vector and information matrix, the server added them up, which "
        "gives the fit of the pooled table. An interval that crosses 1 does not tell the "
        f"direction of the association. The axis ends at 1/{LARGEST_ODDS:g} and {LARGEST_ODDS:g}."
    )
    panel = Panel(lambda axes: _draw_odds(axes, rows), "Odds ratios", (5.6, 0.9 + 0.32 * len(rows)))
    return [Picture("clinical", "Clinical model", caption, (panel,), columns=1)]


def _draw_odds(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    axes.set_xscale("log", base=2)
    axes.axvline(1, color=GREY, lw=0.9)
    ends = [0.5, 2.0]
    for place, row in enumerate(rows):
        ratio, bounds = row["odds_ratio"], row.get("ci") or []
        at = min(max(ratio, 1 / LARGEST_ODDS), LARGEST_ODDS)
        ends.append(at)
        if len(bounds) == 2 and all(map(is_number, bounds)):
            low, high = (min(max(b, 1 / LARGEST_ODDS), LARGEST_ODDS) for b in bounds)
            ends += [low, high]
            axes.plot([low, high], [place, place], color=HEADLINE, lw=1.4)
        axes.plot([at], [place], marker="s", ms=5, color=HEADLINE)
        axes.annotate(
            f"{odds(ratio)} ({interval(row.get('ci'), odds)})",
            (1.02, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=7.4,
        )
    axes.set_xlim(min(ends) / 1.2, max(ends) * 1.2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    _name_rows(axes, [name(row["predictor"]) for row in rows])
    axes.set_xlabel("Odds ratio (log scale)")


def fusion_pictures(results: Results) -> list[Picture]:
    """Coefficients of the fusion layer's inputs."""
    fusion = results.get("fusion") or {}
    rows = [row for row in fusion.get("inputs") or [] if is_number(row.get("coefficient"))]
    if not rows:
        return []
    caption = (
        "Coefficients of the fusion layer, a ridge logistic regression of the label on the "
        f"branches' embeddings, the radiomics score and the clinical data, fitted on the "
        f"{fusion.get('fitted_on', 'tune')} split (n = {count(fusion.get('n_cases'))}), which "
        f"trained no branch; penalty {number(fusion.get('penalty'), 1)}. Ridge shrinks "
        "coefficients towards zero and shares weight among correlated inputs: their sizes do not "
        "rank them."
    )
    panel = Panel(
        lambda axes: _draw_coefficients(axes, rows),
        "Fusion coefficients",
        (5.6, 0.9 + 0.27 * len(rows)),
    )
    return [Picture("fusion", "Fusion layer", caption, (panel,), columns=1)]


def _draw_coefficients(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    values = [row["coefficient"] for row in rows]
    axes.axvline(0, color=GREY, lw=0.9)
    for place, value in enumerate(values):
        axes.plot([0, value], [place, place], color=HEADLINE, lw=2.4, solid_capstyle="butt")
        axes.plot([value], [place], color=HEADLINE, marker="o", ms=6)
        axes.annotate(
            coefficient(value),
            (1.02, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=7.4,
        )
    _name_rows(axes, [name(row["name"]) for row in rows])
    axes.set_xlabel("Coefficient (log odds)")


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


def _gaps(values: Sequence[object]) -> list[float]:
    return [float(value) if is_number(value) else nan for value in values]
