"""A model card of a bundle: what it is for, whom it was trained on, how well it did, its limits.

Everything stands in the bundle or in the results of the run that it was exported from; nothing is
computed anew but standard deviations from moments.

References:
    Mitchell et al. (2019). Model cards for model reporting. FAT* '19, 220-229.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from server.report.words import DASH, Results, name, number, split_name, with_interval
from shared.bundle_file import BundleFile
from shared.config import networks
from shared.errors import StateError
from shared.models import TrainedOn

MEASURES = {"sensitivity": "Sensitivity", "specificity": "Specificity", "ppv": "PPV", "npv": "NPV"}
USE = (
    "Research only: to test the models on further hospitals' patients, and to study what they look "
    "at. **Not a medical device.** No decision about a patient may rest on a score."
)
LIMITS = (
    "A score says nothing of patients unlike those of training: other phases, other organs, "
    "tumours outlined in another way. `trifed predict` warns of some of this, never of all.",
    "Thresholds were frozen on patients of the training sites. Elsewhere the share of positive "
    "patients may be another, and calibration with it.",
    "Single test cohorts are small: read the intervals, not the points.",
    "Weights of networks carry no formal guarantee of privacy unless the study trained them under "
    "differential privacy (`dp.cnn`).",
)


def model_card(found: BundleFile, results: Results | None = None) -> str:
    """The card in Markdown.

    Args:
        results: Of the run that the bundle was exported from; without them the card says that it
            knows of no performance.

    Raises:
        StateError: If the results are of other models.
    """
    if results is not None:
        _check_same(found, results)
    parts = [
        _title(found),
        ["## Intended use", "", USE],
        _models(found),
        _patients(found.bundle.trained_on, found),
        _performance(found, results),
        _thresholds(found),
        ["## Limits", "", *(f"- {text}" for text in LIMITS)],
    ]
    return "\n".join(line for part in parts for line in (*part, ""))


def _check_same(found: BundleFile, results: Results) -> None:
    of = (results.get("study") or {}).get("bundle_hash", "")
    if of != found.bundle.hash():
        raise StateError(
            f"the run's models are bundle {of[:16]}, not {found.bundle.hash()[:16]}. Name the run "
            "that the bundle was exported from."
        )


def _title(found: BundleFile) -> list[str]:
    lines = [f"# Model card: {found.study.title}", ""]
    if found.maker.synthetic:
        lines += ["**Synthetic data: trained on made-up patients.** No number here is of people."]
        lines += [""]
    return [
        *lines,
        f"- Bundle `{found.bundle.hash()}`",
        f"- Study {found.study.name}, `{found.bundle.study_hash}`",
        f"- Made by trifed {found.maker.trifed}, code `{found.maker.code_hash}`",
    ]


def _models(found: BundleFile) -> list[str]:
    study, bundle = found.study, found.bundle
    endpoint = study.endpoint
    return [
        "## What it predicts, from what",
        "",
        f"The probability that {endpoint.name} is {' or '.join(endpoint.positive)}, against "
        f"{' or '.join(endpoint.negative)}, from CT in the phases {', '.join(study.phases)} with "
        "an outlined tumour, and clinical predictors.",
        "",
        f"- Clinical model: {', '.join(bundle.clinical.predictors)}",
        f"- Radiomics score of {len(bundle.radiomics.scale.names)} features"
        + (", harmonised between sites (ComBat)" if bundle.radiomics.scale.sites else ""),
        *(
            f"- Network {network.name}: {network.branch.network}, {network.branch.kind}, "
            f"{found.weights[network.name].layout.size:,} parameters"
            for network in networks(study)
        ),
        f"- Fusion layer of {', '.join(bundle.fusion.columns)}",
    ]


def _patients(told: TrainedOn | None, found: BundleFile) -> list[str]:
    lines = [
        "## Patients of the training sites",
        "",
        f"Sites: {', '.join(found.study.sites.training)}.",
        "",
    ]
    if told is None:
        return [*lines, "The bundle does not tell how many there were."]
    lines += _table(
        ("Split", "Patients", "Positive"),
        [
            (split_name(split), str(n), str(told.n_positive[split]))
            for split, n in told.n_cases.items()
        ],
    )
    variables = told.variables
    return [
        *lines,
        "",
        *_table(
            ("Variable", "Known of", "Mean", "SD"),
            [
                (variable, str(n), number(mean, 3), number(sd, 3))
                for variable, n, mean, sd in zip(
                    variables.names, variables.n, variables.mean, variables.sd, strict=True
                )
            ],
        ),
    ]


def _performance(found: BundleFile, results: Results | None) -> list[str]:
    if results is None:
        return ["## Performance", "", "Not known from the bundle alone. Name its run: `--run RUN`."]
    percent = f"{found.study.evaluation.confidence_level:.0%}"
    lines = [
        "## Performance",
        "",
        f"At the frozen thresholds, with {percent} intervals. Only patients on whom nothing was "
        "fitted are shown.",
    ]
    cohorts: dict[str, dict[str, Mapping[str, Any]]] = {}
    for model, splits in results["models"].items():
        if "internal_test" in splits:
            cohorts.setdefault("Internal test", {})[model] = splits["internal_test"]
    for site, models in (results.get("external_sites") or {}).items():
        cohorts[f"External site {site}"] = models
    for cohort, models in cohorts.items():
        rows = [_row(model, measured) for model, measured in models.items()]
        columns = ("Model", "n (positive)", "AUC", *MEASURES.values(), "Brier")
        lines += ["", f"### {cohort}", "", *_table(columns, rows)]
    return lines


def _row(model: str, measured: Mapping[str, Any]) -> tuple[str, ...]:
    rates = (measured.get(measure) or {} for measure in MEASURES)
    return (
        name(model),
        f"{measured['n']} ({measured['n_positive']})",
        with_interval(measured.get("auc"), measured.get("auc_ci")),
        *(with_interval(rate.get("value"), rate.get("ci")) for rate in rates),
        number(measured.get("brier"), 3),
    )


def _thresholds(found: BundleFile) -> list[str]:
    rows = [
        (name(model), DASH if threshold != threshold else f"{threshold:.3f}")
        for model, threshold in found.bundle.thresholds.items()
    ]
    return [
        "## Frozen thresholds",
        "",
        "Youden's on the pooled tune patients of the training sites; the fusion layer's on the "
        "held-out folds of its fit. A probability at or above it is positive.",
        "",
        *_table(("Model", "Threshold"), rows),
    ]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown; a bar within a cell is escaped."""
    lines = [columns, ["---"] * len(columns), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
