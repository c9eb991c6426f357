"""Figures of the fitting: the branches' rounds, the choice of the LASSO penalty."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from server.report.picture import COLOURS, DASHES, GREY, HEADLINE, INK, Panel, Picture
from server.report.words import (
    Results,
    gaps,
    inside,
    is_number,
    key,
)

ROUNDS_CAPTION = (
    "In each round every training site trained the common weights on its own train split and sent "
    "back weights, a mean loss and a number of cases; the server aggregated the weights. Thin "
    "lines: mean training loss at each site. Thick lines: loss and AUC on the tune split, pooled "
    "over the sites. The dotted vertical line marks the round that was kept, chosen on the tune "
    "split: the tune curve is therefore no test of the network."
)

NAMED = 12
"""More features kept than these stand in a figure without names."""


def training_pictures(results: Results) -> list[Picture]:
    """One picture for each network: loss at each site, and AUC on the tune split."""
    branches = results.get("branches") or {}
    trained = {
        network: value for network, value in branches.items() if value and value.get("rounds")
    }
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
        axes.plot(x, gaps(losses), color=COLOURS[place % 8], lw=1.0, marker=".", ms=3, label=site)
    if not sites:
        losses = [entry.get("loss") for entry in rounds]
        axes.plot(x, gaps(losses), color=COLOURS[0], label="train, all sites")
    tune = gaps([entry.get("tune_loss") for entry in rounds])
    axes.plot(x, tune, color=HEADLINE, lw=2.0, label="tune, pooled")
    _finish_rounds(axes, best, "Loss (cross-entropy)")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)


def _draw_tune_auc(axes: Axes, rounds: Sequence[Mapping[str, Any]], best: object) -> None:
    x, auc = [entry["round"] for entry in rounds], gaps([e.get("tune_auc") for e in rounds])
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


LINEAR_SUMS = "sums and products of features"
LOGISTIC_SUMS = "gradients and Hessians, each site at its own best intercept,"


def _loss_name(lasso: Mapping[str, Any]) -> str:
    return {"log_loss": "Log-loss", "squared_error": "Squared error"}.get(
        str(lasso.get("loss")), "Error"
    )


def lasso_pictures(results: Results) -> list[Picture]:
    """The cross-validation curve of the LASSO."""
    lasso = (results.get("radiomics") or {}).get("lasso") or {}
    if not lasso.get("alphas") or not lasso.get("cv_error"):
        return []
    logistic = lasso.get("loss") == "log_loss"
    kind = "logistic" if logistic else "linear"
    caption = (
        f"Error: {_loss_name(lasso).lower()} of the {kind} LASSO on the folds left out, mean over "
        "folds, against its penalty; the band is one standard error either side, the dotted line "
        "the penalty that was used. Coefficients: each feature's, for one standard deviation; "
        "those kept at that penalty are in colour, and named if they are few. Both were computed "
        f"by the server from {LOGISTIC_SUMS if logistic else LINEAR_SUMS} that the training sites "
        "sent for the folds of their train split, which gives what one pooled table would give."
    )
    size = (4.4, 2.9)
    panels = (
        Panel(lambda axes: _draw_lasso(axes, lasso), "Error against penalty", size),
        Panel(lambda axes: _draw_path(axes, lasso), "Coefficients against penalty", size),
    )
    return [Picture("lasso", "The LASSO's penalty and its features", caption, panels, columns=2)]


def _draw_lasso(axes: Axes, lasso: Mapping[str, Any]) -> None:
    alphas, error = gaps(lasso["alphas"]), gaps(lasso["cv_error"])
    spread = gaps(lasso.get("cv_se"))
    if len(spread) == len(error):
        low = [m - e for m, e in zip(error, spread, strict=True)]
        high = [m + e for m, e in zip(error, spread, strict=True)]
        axes.fill_between(alphas, low, high, color=HEADLINE, alpha=0.13, lw=0)
    axes.plot(alphas, error, color=HEADLINE, marker=".", ms=3)
    _penalty_axis(axes, lasso.get("alpha"))
    axes.set_ylabel(f"Cross-validated {_loss_name(lasso).lower()}")


def _draw_path(axes: Axes, lasso: Mapping[str, Any]) -> None:
    path, alphas = lasso.get("path") or [], gaps(lasso["alphas"])
    alpha = lasso.get("alpha")
    place = lasso["alphas"].index(alpha) if alpha in lasso["alphas"] else None
    kept = [line for line in path if place is not None and line["coefficients"][place] != 0]
    for line in path:
        if line not in kept:
            axes.plot(alphas, gaps(line["coefficients"]), color=GREY, lw=0.7, alpha=0.7)
    for k, line in enumerate(kept):
        label = " ".join(str(line["feature"]).split("__"))
        colour, dash = COLOURS[k % len(COLOURS)], DASHES[k // len(COLOURS) % len(DASHES)]
        axes.plot(alphas, gaps(line["coefficients"]), lw=1.3, label=label, color=colour, ls=dash)
    if 0 < len(kept) <= NAMED:
        axes.legend(loc="upper left", bbox_to_anchor=(-0.05, -0.2), fontsize=6.2)
    _penalty_axis(axes, alpha)
    axes.set_ylabel("Coefficient")


def _penalty_axis(axes: Axes, alpha: object) -> None:
    if is_number(alpha):
        axes.axvline(alpha, color=INK, lw=0.9, ls=DASHES[2])
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("Penalty (alpha, log scale)")
