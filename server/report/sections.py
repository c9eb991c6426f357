"""The order of the report: which tables and pictures stand in which section."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.report.baseline_figures import baseline_pictures
from server.report.baselines import baseline_lines, baseline_tables
from server.report.coefficient_figures import clinical_pictures, fusion_pictures
from server.report.comparisons import comparison_lines, comparison_tables
from server.report.contributions import contribution_pictures, contribution_tables
from server.report.decision_figures import decision_pictures, no_curve_line
from server.report.explanations import explanation_pictures, explanation_tables
from server.report.external import external_tables, looks_line
from server.report.flow import design_pictures, flow_pictures
from server.report.fusion_tables import fusion_tables
from server.report.hospitals import hospital_pictures, hospital_tables
from server.report.model_figures import auc_pictures, calibration_pictures, roc_pictures
from server.report.model_tables import calibration_tables, half_tables, metric_tables
from server.report.nomogram import nomogram_pictures
from server.report.picture import Picture
from server.report.privacy import fusion_privacy_line, privacy_line, secure_line
from server.report.regressions import regression_tables
from server.report.stability import stability_line, stability_tables
from server.report.subgroups import subgroup_lines, subgroup_pictures, subgroup_tables
from server.report.table import Table
from server.report.tables import (
    clinical_tables,
    cohort_tables,
    disclosed_tables,
    radiomics_tables,
    training_tables,
    verify_tables,
)
from server.report.training_figures import lasso_pictures, training_pictures
from server.report.words import DASH, Results, count


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, some sentences, and the tables and pictures beneath."""

    key: str
    title: str
    lines: tuple[str, ...]
    blocks: tuple[Table | Picture, ...]


def sections(results: Results) -> list[Section]:
    """Every section that has something to show."""
    blocks: dict[str, tuple[str, list[Table | Picture]]] = {
        "cohort": ("Cohort", [*flow_pictures(results), *cohort_tables(results)]),
        "performance": ("Performance of the models", _performance(results)),
        "calibration": (
            "Calibration",
            [*calibration_pictures(results), *calibration_tables(results)],
        ),
        "decisions": ("Decision curves", [*decision_pictures(results)]),
        "subgroups": ("Subgroups", [*subgroup_pictures(results), *subgroup_tables(results)]),
        "baselines": (
            "Federated, alone and pooled",
            [*baseline_pictures(results), *baseline_tables(results)],
        ),
        "branches": (
            "Training of the branches",
            [*training_tables(results), *training_pictures(results)],
        ),
        "explanations": (
            "Where the networks look",
            [*explanation_tables(results), *explanation_pictures(results)],
        ),
        "radiomics": (
            "Radiomics",
            [*lasso_pictures(results), *radiomics_tables(results), *stability_tables(results)],
        ),
        "clinical": (
            "Clinical model",
            [
                *clinical_pictures(results),
                *clinical_tables(results),
                *regression_tables(results),
            ],
        ),
        "fusion": (
            "Fusion layer",
            [
                *fusion_pictures(results),
                *nomogram_pictures(results),
                *contribution_pictures(results),
                *fusion_tables(results),
                *contribution_tables(results),
            ],
        ),
        "verification": ("Verification", [*verify_tables(results)]),
        "disclosed": (
            "What left the hospitals",
            [*design_pictures(results), *disclosed_tables(results)],
        ),
    }
    lines = _lines(results)
    return [
        Section(key, title, tuple(line for line in lines.get(key, []) if line), tuple(found))
        for key, (title, found) in blocks.items()
        if found
    ]


def _lines(results: Results) -> dict[str, list[str]]:
    """The sentences above each section's tables and pictures."""
    radiomics_line = stability_line(results) + _radiomics_line(results)
    lines = {"radiomics": [radiomics_line], "cohort": [_rule_of_words(results)]}
    lines["performance"] = [*comparison_lines(results), looks_line(results)]
    lines["decisions"] = [no_curve_line(results)]
    lines["subgroups"] = subgroup_lines(results)
    lines["baselines"] = baseline_lines(results)
    lines["branches"] = [privacy_line(results)]
    lines["fusion"] = [fusion_privacy_line(results)]
    lines["disclosed"] = [secure_line(results)]
    return lines


def _performance(results: Results) -> list[Table | Picture]:
    return [
        *roc_pictures(results),
        *auc_pictures(results),
        *metric_tables(results),
        *external_tables(results),
        *hospital_pictures(results),
        *hospital_tables(results),
        *comparison_tables(results),
        *half_tables(results),
    ]


def blocks_of(results: Results) -> list[Table | Picture]:
    """All tables and pictures, in the order of the report."""
    return [block for section in sections(results) for block in section.blocks]


def _radiomics_line(results: Results) -> str:
    radiomics = results.get("radiomics") or {}
    return (
        f"Of {count(radiomics.get('n_features'))} features {count(radiomics.get('n_screened'))} "
        f"passed the screening, {count(radiomics.get('n_after_pruning'))} were left after one of "
        f"each correlated pair was dropped, and the LASSO kept {len(radiomics.get('kept') or [])}."
        + _screen_line(radiomics.get("screen") or {})
        + _site_line(radiomics.get("site_differences") or {})
        + _look_line(radiomics.get("site_differences") or {})
        + _harmonised_line(radiomics.get("harmonised") or {})
        + _widths_line(radiomics.get("bin_widths_hu") or {})
    )


def _harmonised_line(found: Mapping[str, Any]) -> str:
    share = (found.get("site_differences") or {}).get("share")
    if share is None:
        return ""
    return (
        f" After ComBat {share:.0%} differ. External sites have no part in it: their features are "
        "on the pooled scale as they are."
    )


def _widths_line(found: Mapping[str, Any]) -> str:
    if not found.get("learnt"):
        return ""
    widths = ", ".join(f"{name} {width:g}" for name, width in found["widths"].items())
    return f" The sites learnt the width of a grey level of each filtered image (HU): {widths}."


def _screen_line(screen: Mapping[str, Any]) -> str:
    return f" {screen['warning']}" if screen.get("warning") else ""


def _site_line(found: Mapping[str, Any]) -> str:
    """Can the features tell the hospital?"""
    if found.get("share") is None:
        return ""
    alike = found["share"] <= 2 * found["expected"]
    meaning = (
        ": scanners, protocols or patients are not alike there, and a feature can tell the "
        "hospital instead of the tumour"
    )
    return (
        f" Between the training sites {found['share']:.0%} of the features differ (analysis of "
        f"variance, p < 0.05; {found['expected']:.0%} would by chance){'' if alike else meaning}."
    )


def _look_line(found: Mapping[str, Any]) -> str:
    """Which site's do cases look like?"""
    if found.get("why_not"):
        why = str(found["why_not"]).rstrip(".")
        return f" Whether a case tells its hospital could not be tried: {why}."
    if found.get("balanced_accuracy") is None:
        return ""
    return (
        " A discriminant of the sites, fitted on the screened features of training cases, assigns "
        f"{found['balanced_accuracy']:.0%} of the {count(found.get('n_cases'))} tune cases, mean "
        f"over sites, to their own hospital ({found['chance']:.0%} by guessing)."
    )


def _rule_of_words(results: Results) -> str:
    endpoint = results.get("endpoint") or {}
    if not endpoint.get("name"):
        return ""
    positive, negative = (" or ".join(endpoint.get(k) or [DASH]) for k in ("positive", "negative"))
    return (
        f"Positive means {endpoint['name']} {positive} by the reference standard, "
        f"negative {negative}."
    )
