"""Where the networks look: the mean map around the tumour, shares of heat, and a table."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Circle

from server.report.picture import COLOURS, INK, Panel, Picture
from server.report.table import Table, estimate, row, shown
from server.report.words import (
    Results,
    count,
    inside,
    key,
    level,
    listed,
    name,
    number,
)

REGIONS = {"inside": "inside the tumour", "ring": "in the ring", "elsewhere": "elsewhere"}
METHODS = {
    "grad_cam": "by Grad-CAM on the network’s last map",
    "occlusion": "by what covering a part costs the network’s logit",
}
CAPTION = (
    "Left: heat, how much each place spoke for what the network says of a patient, {method}; mean "
    "over patients, in the tumour’s own frame: every tumour’s middle is the origin, and the "
    "circle, of its area, has the radius 1. Heat of 1 is what an even spread over the network’s "
    "field would give; beyond a patient’s field there is none. Right: how many patients have which "
    "share of their heat inside the tumour, in the ring around it and elsewhere. Only sums over a "
    "site’s patients left it."
)


def explanation_pictures(results: Results) -> list[Picture]:
    """For each network the mean map and the histograms."""
    pictures: list[Picture] = []
    for network, found in _told(results).items():
        panels = (
            Panel(_map_drawer(found), f"Mean heat of {network} around the tumour", (3.5, 3.0)),
            Panel(_bins_drawer(found), f"Shares of the heat of {network}", (3.5, 3.0)),
        )
        words = CAPTION.format(method=METHODS.get(str(found.get("method")), ""))
        caption = "As in the figure before." if pictures else words
        title = f"Where {inside(network)} looks"
        pictures.append(Picture(f"heat-{key(network)}", title, caption, panels))
    return pictures


def explanation_tables(results: Results) -> list[Table]:
    """For each network and region: share of heat, share of field, and their ratio."""
    rows = []
    for network, found in (results.get("explanations") or {}).items():
        for region, words in REGIONS.items():
            part = found.get(region) or {}
            before = (found.get("untrained") or {}).get(region) or {}
            ratios = (shown(one.get("enrichment"), number) for one in (part, before))
            heat = estimate(part.get("mean"), part.get("ci"))
            cells = (shown(found.get("n"), count), heat, shown(part.get("area_share")), *ratios)
            rows.append(row(name(network), words, *cells))
    columns = (
        *("Network", "Region", "Patients", "Share of heat", "Share of field", "Ratio"),
        "Ratio untrained",
    )
    notes = (
        f"Mean over internal test patients, with the {level(results)} interval of the mean. A "
        "ratio above 1 says that the network looks there more than an even spread would. The same "
        "network before any training is the fairer comparison: images are centred on tumours, "
        "which stand out, and that alone moves it.",
        *_left_out(results),
    )
    title = "Where the networks’ heat lies"
    return [Table("explanations", title, columns, tuple(rows), notes, texts=2)] if rows else []


def _told(results: Results) -> dict[str, Mapping[str, Any]]:
    every = results.get("explanations") or {}
    return {network: found for network, found in every.items() if found.get("mean_map")}


def _left_out(results: Results) -> list[str]:
    lines = []
    for network, found in (results.get("explanations") or {}).items():
        if found.get("sites_with_too_few"):
            sites = listed(found["sites_with_too_few"])
            lines.append(f"{name(network)}: too few patients to tell anything of at {sites}.")
        if found.get("n_without_heat"):
            without = count(found["n_without_heat"])
            lines.append(f"{name(network)}: no heat, or no tumour on its grid: {without} patients.")
    return lines


def _map_drawer(found: Mapping[str, Any]) -> Any:
    def draw(axes: Axes) -> None:
        reach = found["map_radii"]
        extent = (-reach, reach, reach, -reach)
        image = axes.imshow(found["mean_map"], extent=extent, cmap="YlOrRd", vmin=0)
        image.set_zorder(0.2)
        axes.add_patch(Circle((0, 0), 1, fill=False, edgecolor=INK, lw=1.1))
        axes.grid(visible=False)
        axes.set(xlabel="Radii to the patient’s left", ylabel="Radii to the back")
        axes.set_title(f"Mean heat (n = {count(found.get('n'))})")
        bar = axes.get_figure(root=True).colorbar(image, ax=axes, shrink=0.85)  # type: ignore[union-attr]
        bar.outline.set_visible(False)

    return draw


def _bins_drawer(found: Mapping[str, Any]) -> Any:
    def draw(axes: Axes) -> None:
        for (region, words), colour in zip(REGIONS.items(), COLOURS, strict=False):
            counts = found[region]["histogram"]["counts"]
            edges = found[region]["histogram"]["edges"]
            axes.stairs(counts, edges, color=colour, label=words, lw=1.4)
        axes.set(xlabel="Share of a patient’s heat", ylabel="Patients", xlim=(0, 1))
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)

    return draw
