"""A prediction as two files: numbers for programs, and one page that asks the network nothing."""

import base64
import io
import json
from dataclasses import asdict
from pathlib import Path

from matplotlib.figure import Figure

from client.check.report import shown
from client.explain.page import percent, picture
from client.predict.predict import Prediction
from shared.files import write_atomically
from shared.pages import page_environment
from shared.research_use import USE

FORMAT = 1
NUMBERS, PAGE = "prediction.json", "prediction.html"
MOST_BARS = 25
HEAT = {"grad_cam": "Grad-CAM", "occlusion": "occlusion"}
TOWARDS, AWAY = "#b5421a", "#0b5aa5"


def write_prediction(out: Path, found: Prediction) -> tuple[Path, Path]:
    """Write a prediction's files, readable by their owner only, where the system knows owners."""
    out.mkdir(parents=True, exist_ok=True)
    numbers = json.dumps(as_numbers(found), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    files = (out / NUMBERS, numbers), (out / PAGE, as_page(found))
    for path, text in files:
        write_atomically(path, text.encode())
        path.chmod(0o600)
    return files[0][0], files[1][0]


def as_numbers(found: Prediction) -> dict[str, object]:
    """What `prediction.json` holds."""
    return {
        "format": FORMAT,
        "use": USE,
        "synthetic": found.synthetic,
        "study": {"name": found.study, "title": found.title},
        "bundle_hash": found.bundle_hash,
        "trifed": found.trifed,
        "patient": found.patient,
        "site": found.site,
        "positive_means": found.positive_means,
        "models": {name: asdict(score) for name, score in found.models.items()},
        "fusion": {
            "logit": found.explained.logit,
            "mean_logit": found.explained.mean_logit,
            "contributions": found.explained.sources,
            "columns": [asdict(column) for column in found.explained.columns],
        },
        "scaling": found.scaling,
        "warnings": list(found.warnings),
        "heat": {
            look.network.name: {
                "method": found.heat_method,
                "inside_tumour": look.inside if look.inside == look.inside else None,
                "tumour_area": look.inside_area,
            }
            for look in found.looks
        },
    }


def as_page(found: Prediction) -> str:
    """The page's text."""
    return (
        page_environment(Path(__file__).parent)
        .get_template("page.html.j2")
        .render(
            found=found,
            use=USE,
            patient=shown(found.patient),
            verdicts={name: verdict(found, name) for name in found.models},
            bars=bars(found),
            method=HEAT[found.heat_method],
            looks=[(look.network.name, percent(look), picture(look)) for look in found.looks],
        )
    )


def verdict(found: Prediction, model: str) -> str:
    """What a model's frozen threshold makes of its score, in words."""
    score = found.models[model]
    if score.probability is None:
        return "no score: a phase is missing"
    if score.threshold is None:
        return "the model has no threshold"
    if score.positive:
        return f"positive: at or above the frozen threshold {score.threshold:.3f}"
    return f"negative: below the frozen threshold {score.threshold:.3f}"


def bars(found: Prediction) -> str:
    """The contributions to the fusion layer's logit as bars, a PNG in base64."""
    parts = sorted(found.explained.columns, key=lambda part: -abs(part.logit))
    drawn = [(part.column, part.logit) for part in parts[:MOST_BARS]]
    if rest := parts[MOST_BARS:]:
        drawn.append((f"{len(rest)} others", sum(part.logit for part in rest)))
    names, logits = zip(*reversed(drawn), strict=True)
    figure = Figure(figsize=(8, 1.2 + 0.3 * len(drawn)), layout="constrained")
    axes = figure.subplots()
    axes.barh(names, logits, color=[TOWARDS if logit > 0 else AWAY for logit in logits])
    axes.axvline(0, color="#1b2733", linewidth=0.8)
    axes.set_xlabel("contribution to the fusion layer's logit (0: the mean)")
    axes.spines[["top", "right"]].set_visible(False)
    if found.synthetic:
        figure.text(0.5, 0.5, "synthetic data", fontsize=30, color="#1b2733", alpha=0.13,
                    ha="center", va="center", rotation=15)  # fmt: skip
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, metadata={"Software": None})
    return base64.b64encode(stream.getvalue()).decode()
