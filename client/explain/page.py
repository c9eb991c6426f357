"""Where the networks look in one patient, as an HTML page that stays in the hospital."""

import base64
import io
import math
from pathlib import Path
from urllib.parse import quote

import numpy as np
from matplotlib.figure import Figure

from client.check.report import shown
from client.explain.heat import spacing_of
from client.explain.look import Look
from client.site import Site
from shared.branches import Explain
from shared.files import write_atomically
from shared.pages import page_environment

INCH = 2.6
OPAQUE = 0.6


def write_page(out: Path, site: Site, patient: str, looks: list[Look]) -> Path:
    """Write a patient's page that only its owner can read, where the system knows owners."""
    method = (site.study.explain or Explain()).method
    text = (
        page_environment(Path(__file__).parent)
        .get_template("page.html.j2")
        .render(
            site=site.name,
            synthetic=site.settings.synthetic,
            patient=shown(patient),
            method={"grad_cam": "Grad-CAM", "occlusion": "occlusion"}[method],
            positive=f"{site.study.endpoint.name} {' or '.join(site.study.endpoint.positive)}",
            branches=branch_probabilities(looks),
            looks=[(look, percent(look), picture(look)) for look in looks],
        )
    )
    path = out / f"patient-{quote(patient, safe='')}.html"
    write_atomically(path, text.encode())
    path.chmod(0o600)
    return path


def branch_probabilities(looks: list[Look]) -> dict[str, str]:
    """Each branch's probability of the positive label: of its networks' mean logit."""
    logits: dict[str, list[float]] = {}
    for look in looks:
        logits.setdefault(look.network.branch.name, []).append(look.logit)
    return {
        branch: f"{1 / (1 + math.exp(-float(np.mean(found)))):.2f}"
        for branch, found in logits.items()
    }


def percent(look: Look) -> str:
    """How much of the heat lies inside the tumour, in words."""
    if math.isnan(look.inside):
        return "There is no heat: no place spoke for what the network said."
    return (
        f"{look.inside:.0%} of the heat lies inside the tumour, which is {look.inside_area:.0%} "
        "of the field."
    )


def picture(look: Look) -> str:
    """Each phase without and with the heat and the mask's outline, as a PNG in base64."""
    phases = look.network.phases
    figure = Figure(figsize=(INCH * len(phases), 2 * INCH), layout="constrained")
    grid = figure.subplots(2, len(phases), squeeze=False)
    _, height_mm, width_mm = spacing_of(look.network)
    aspect = height_mm / width_mm
    for column, (phase, image) in enumerate(zip(phases, look.images, strict=True)):
        for axes in grid[:, column]:
            axes.imshow(image, cmap="gray", vmin=-1, vmax=1, aspect=aspect)
            axes.set_axis_off()
        grid[0, column].set_title(phase, fontsize=9)
        grid[1, column].imshow(
            look.heat, cmap="inferno", vmin=0, vmax=1, alpha=OPAQUE * look.heat, aspect=aspect
        )
        if look.tumour.any() and not look.tumour.all():
            grid[1, column].contour(look.tumour, [0.5], colors="#4ac9ff", linewidths=1.2)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, metadata={"Software": None})
    return base64.b64encode(stream.getvalue()).decode()
