"""Every number of a finished run in one JSON file; the report is drawn from it alone."""

import json
from typing import Any

import numpy as np

from server.added_results import with_added
from server.branch_results import branch_results
from server.clinical_results import clinical_results
from server.cohort_results import cohort_results
from server.comparisons import comparison_results
from server.contribution_results import contribution_results
from server.coordinator import Coordinator, need
from server.disclosed import disclosed_by
from server.explain_results import explain_results
from server.fusion_results import fusion_results
from server.hospital_results import hospital_results
from server.performance import external_looks, external_results, model_results
from server.plain import clean
from server.privacy import total_privacy
from server.secure_federation import wants_secure_sums
from server.selection_results import kept_results, lasso_results, look_results, screen_results
from server.stability_results import stability_results
from server.study import (
    DiscretiseRecord,
    ExternalRecord,
    Greetings,
    ScaleRecord,
    SelectionRecord,
    Study,
)
from server.subgroup_results import subgroup_results
from shared.branches import PUBLISHED
from shared.config import Study as Settings
from shared.config import digest
from shared.files import write_atomically
from shared.identity import code_hash, versions
from shared.site_signal import SiteAnova, significant_share
from shared.strict_yaml import dump_settings

FORMAT = 1


def write_results(study: Study, coordinator: Coordinator) -> dict[str, Any]:
    """Write `results.json` and return its content."""
    results = with_added(collect_results(study, coordinator.settings), coordinator.out)
    text = json.dumps(results, indent=1, allow_nan=False)
    write_atomically(coordinator.out / "results.json", text.encode())
    return results


def collect_results(study: Study, settings: Settings) -> dict[str, Any]:
    """The content of `results.json`; the same for the same study, whatever engine carried it."""
    greetings: Greetings = need(study.hello, "hello")
    external: ExternalRecord = need(study.external_evaluate, "external_evaluate")
    synthetic = external.synthetic or any(g.synthetic for g in greetings.sites.values())
    secure = wants_secure_sums(study, settings)
    results: dict[str, Any] = clean(
        {
            "format": FORMAT,
            "synthetic": synthetic,
            "title": settings.title,
            "study": {
                "name": settings.name,
                "seed": settings.seed,
                "study_hash": digest(settings),
                "settings_hash": settings_hash(settings),
                "bundle_hash": external.bundle_hash,
            },
            "versions": versions(),
            "code_hash": code_hash(),
            "settings_yaml": dump_settings(settings, context=PUBLISHED),
            "endpoint": settings.endpoint.model_dump(include={"name", "positive", "negative"}),
            "phases": settings.phases,
            "cohort": cohort_results(study),
            "radiomics": radiomics_results(study, settings),
            "clinical": clinical_results(study, settings),
            "branches": branch_results(study, settings),
            "explanations": explain_results(study, settings),
            "privacy": total_privacy(
                need(study.train_branches, "train_branches"), settings, study.fuse
            ),
            "fusion": fusion_results(study, settings),
            "contributions": contribution_results(study, settings),
            "models": model_results(study, settings),
            "hospitals": hospital_results(study, settings),
            "subgroups": subgroup_results(study, settings),
            "external_sites": external_results(study, settings),
            "external_looks": external_looks(study),
            "comparisons": comparison_results(study, settings),
            "confidence_level": settings.evaluation.confidence_level,
            "interval_methods": {
                "AUC": "DeLong",
                "proportions": "Wilson",
                "Youden's J": "Newcombe",
                "O/E": "log scale",
            },
            "secure_sums": secure,
            "disclosed": disclosed_by(settings, secure_sums=secure),
        }
    )
    return results


def settings_hash(settings: Settings) -> str:
    """Hash of what decides a patient's numbers: phases, preprocessing and radiomics settings."""
    parts = settings.model_dump(mode="json", include={"phases", "preprocess", "radiomics"})
    return digest(parts)


def radiomics_results(study: Study, settings: Settings) -> dict[str, Any]:
    """How many features stood at each step, which were kept, and the LASSO's path."""
    record: SelectionRecord = need(study.select_features, "select_features")
    return {
        "bin_widths_hu": bin_widths(study),
        "stability": stability_results(need(study.stability, "stability"), settings.stability),
        "n_features": len(need(study.standardise, "standardise").scale.names),
        "n_screened": len(record.screened),
        "n_after_pruning": len(record.pruned),
        "screen": screen_results(settings.selection),
        "site_differences": site_differences(need(study.standardise, "standardise").sites)
        | look_results(record.looks),
        "harmonised": harmonised(need(study.standardise, "standardise")),
        "kept": kept_results(record),
        "lasso": lasso_results(record, settings.selection),
    }


def bin_widths(study: Study) -> dict[str, Any]:
    """The width of a grey level of each filtered image, HU, and whether the sites learnt it."""
    record: DiscretiseRecord = need(study.discretise, "discretise")
    return {
        "learnt": record.median_ranges_hu is not None,
        "widths": record.extraction.bin_widths_hu,
    }


def harmonised(record: ScaleRecord) -> dict[str, Any] | None:
    """What is left of the differences between sites after ComBat; None where it was not used."""
    if record.harmonised is None:
        return None
    return {"method": "combat", "site_differences": site_differences(record.harmonised)}


def site_differences(anova: SiteAnova) -> dict[str, Any]:
    """Can the features tell the hospital? The share that differs between the training sites."""
    if not anova.tested.any():
        return {"n_tested": 0, "share": None, "expected": None, "median_eta_squared": None}
    found = significant_share(anova)
    return {
        "n_tested": found.n_tested,
        "share": found.share,
        "expected": found.expected,
        "median_eta_squared": float(np.median(anova.eta_squared[anova.tested])),
    }
