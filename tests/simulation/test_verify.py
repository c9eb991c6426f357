"""Verification: it passes on an honest run, and names the stage of any number that is off."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trifed
from server.study import Study
from server.study_folder import StudyFolder
from shared.job import read_job
from simulation import verify
from simulation.simulate import verify_folder
from simulation.verification.rows import pool_rows

OFF = 1e-6


def bumped(values: np.ndarray) -> np.ndarray:
    """The same numbers, the first one off by a millionth."""
    found = np.array(values)
    found[0] += OFF
    return found


def change_selection(**changes: Callable[[Any], Any]) -> Callable[[Study], Study]:
    """Change slots of the selection's record."""

    def apply(study: Study) -> Study:
        record = study.select_features
        changed = {name: change(getattr(record, name)) for name, change in changes.items()}
        return replace(study, select_features=replace(record, **changed))

    return apply


def change_clinical(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Any:
    """Change an array of the clinical fit."""

    def apply(study: Study) -> Study:
        record = study.clinical_model
        fit = replace(record.fit, **{name: change(getattr(record.fit, name))})
        return replace(study, clinical_model=replace(record, fit=fit))

    return apply


def change_clinical_means(study: Study) -> Study:
    record = study.clinical_model
    model = replace(record.model, means=bumped(record.model.means))
    return replace(study, clinical_model=replace(record, model=model))


def change_variables(study: Study) -> Study:
    """A mean of Table 1 off by a millionth at one site."""
    record = study.describe_cohort
    told = record.sites["site_a"]
    negative = replace(told.variables.negative, mean=bumped(told.variables.negative.mean))
    changed = replace(told, variables=replace(told.variables, negative=negative))
    sites = record.sites | {"site_a": changed}
    return replace(study, describe_cohort=replace(record, sites=sites))


def change_quartiles(study: Study) -> Study:
    """A median below the patient's whose value it is."""
    record = study.describe_cohort
    quartiles = replace(record.quartiles, together=record.quartiles.together - 0.1)
    return replace(study, describe_cohort=replace(record, quartiles=quartiles))


def change_regression(which: str, **changes: Callable[[Any], Any]) -> Callable[[Study], Study]:
    """Change slots of one of the regressions beside the clinical model."""

    def apply(study: Study) -> Study:
        record = study.clinical_model
        one = getattr(record, which)
        one = one[0] if isinstance(one, tuple) else one
        one = replace(one, **{name: change(getattr(one, name)) for name, change in changes.items()})
        slot = (one, *record.alone[1:]) if which == "alone" else one
        return replace(study, clinical_model=replace(record, **{which: slot}))

    return apply


def change_scale(study: Study, **values: Any) -> Study:
    record = study.standardise
    return replace(study, standardise=replace(record, scale=replace(record.scale, **values)))


def change_scale_mean(study: Study) -> Study:
    """A mean off by a millionth of its standard deviation."""
    scale = study.standardise.scale
    mean = np.array(scale.mean)
    mean[0] += OFF * scale.sd[0]
    return change_scale(study, mean=mean)


def change_scale_sd(study: Study) -> Study:
    scale = study.standardise.scale
    sd = np.array(scale.sd)
    sd[0] *= 1 + OFF
    return change_scale(study, sd=sd)


def change_differences(study: Study) -> Study:
    record = study.standardise
    sites = replace(record.sites, p_value=record.sites.p_value + OFF)
    return replace(study, standardise=replace(record, sites=sites))


def change_icc(name: str) -> Callable[[Study], Study]:
    """An estimate or a bound of one intraclass correlation off by a millionth."""

    def apply(study: Study) -> Study:
        record = study.stability
        found = replace(record.icc, **{name: bumped(getattr(record.icc, name))})
        return replace(study, stability=replace(record, icc=found))

    return apply


def change_stable_features(study: Study) -> Study:
    """The last stable feature forgotten."""
    record = study.stability
    return replace(study, stability=replace(record, kept=record.kept[:-1]))


def change_median_range(study: Study) -> Study:
    """A learnt median range off by a millionth of itself."""
    record = study.discretise
    ranges = record.median_ranges_hu * (1 + OFF)
    return replace(study, discretise=replace(record, median_ranges_hu=ranges))


def change_clip(study: Study) -> Study:
    """A clipping quantile off by a millionth of the feature's deviation."""
    scale = study.standardise.scale
    high = np.array(scale.high)
    high[0] += OFF * scale.sd[0]
    return change_scale(study, high=high)


def change_harmonised(study: Study) -> Study:
    """One site's own deviation of one feature off by a millionth."""
    own = dict(study.standardise.scale.sites)
    own["site_b"] = replace(own["site_b"], sd=own["site_b"].sd * (1 + OFF))
    return change_scale(study, sites=own)


def change_comparison(name: str) -> Callable[[Study], Study]:
    """An AUC, or a variance of one, of the models compared off by a millionth."""

    def apply(study: Study) -> Study:
        record = study.evaluate
        aucs = record.comparison.aucs
        values = np.array(getattr(aucs, name))
        values.flat[0] -= OFF
        compared = replace(record.comparison, aucs=replace(aucs, **{name: values}))
        return replace(study, evaluate=replace(record, comparison=compared))

    return apply


def change_external_comparison(study: Study) -> Study:
    """A variance at the external site off by a millionth."""
    record = study.external_evaluate
    reply = record.sites["site_d"]
    aucs = replace(reply.comparison.aucs, covariance=reply.comparison.aucs.covariance + OFF)
    told = replace(reply, comparison=replace(reply.comparison, aucs=aucs))
    return replace(study, external_evaluate=replace(record, sites={"site_d": told}))


def change_contribution(study: Study) -> Study:
    """The size of what one input adds, summed at a training site, off by a millionth."""
    record = study.evaluate
    told = record.contributions["site_a"]
    columns = replace(told.columns, absolute=bumped(told.columns.absolute))
    sites = record.contributions | {"site_a": replace(told, columns=columns)}
    return replace(study, evaluate=replace(record, contributions=sites))


def change_external_contribution(study: Study) -> Study:
    """The mean of what one source adds to the positives' logits off by a millionth."""
    record = study.external_evaluate
    reply = record.sites["site_d"]
    sources = reply.contributions.sources
    positive = replace(sources.moments.positive, mean=bumped(sources.moments.positive.mean))
    sources = replace(sources, moments=replace(sources.moments, positive=positive))
    told = replace(reply, contributions=replace(reply.contributions, sources=sources))
    return replace(study, external_evaluate=replace(record, sites={"site_d": told}))


def change_subgroup(study: Study) -> Study:
    """A training site's two subgroups taken for each other."""
    record = study.evaluate
    told = record.subgroups["male"]["site_a"]
    swapped = replace(told, sums={model: groups[::-1] for model, groups in told.sums.items()})
    column = record.subgroups["male"] | {"site_a": swapped}
    changed = replace(record, subgroups=record.subgroups | {"male": column})
    return replace(study, evaluate=changed)


def change_external_subgroup(study: Study) -> Study:
    """An external subgroup's AUC off by a millionth."""
    record = study.external_evaluate
    reply = record.sites["site_d"]
    told = reply.subgroups["her2_ihc"]
    first, *others = told.summaries["fusion"]
    groups = (replace(first, auc=first.auc - OFF), *others)
    told = replace(told, summaries=told.summaries | {"fusion": groups})
    reply = replace(reply, subgroups=reply.subgroups | {"her2_ihc": told})
    return replace(study, external_evaluate=replace(record, sites={"site_d": reply}))


ICC = ("stability", "intraclass correlations")
THOROUGH_BREAKS = {
    "quartile": (change_quartiles, "describe_cohort", "quartiles, beyond their precision"),
    "ICC": (change_icc("estimate"), *ICC),
    "lower bound of an ICC": (change_icc("low"), *ICC),
    "upper bound of an ICC": (change_icc("high"), *ICC),
    "stable features": (change_stable_features, "stability", "features kept"),
    "median range": (change_median_range, "discretise", "median ranges (relative)"),
    "clipping": (change_clip, "standardise", "clipping quantiles (in standard deviations)"),
    "ComBat": (change_harmonised, "standardise", "ComBat"),
    "subgroup": (change_subgroup, "evaluate", "subgroups: patients"),
    "AUC of an external subgroup": (
        change_external_subgroup,
        "external_evaluate",
        "subgroups: AUCs",
    ),
}
BREAKS = {
    "mean of Table 1": (change_variables, "describe_cohort", "Table 1: counts and moments"),
    "AUC compared": (change_comparison("auc"), "evaluate", "AUCs of models compared"),
    "variance of an AUC": (change_comparison("covariance"), "evaluate", "covariance of the AUCs"),
    "variance of an AUC at an external site": (
        change_external_comparison,
        "external_evaluate",
        "covariance of the AUCs",
    ),
    "what an input adds": (change_contribution, "evaluate", "fusion layer's inputs: logits"),
    "what a source adds at an external site": (
        change_external_contribution,
        "external_evaluate",
        "fusion layer's inputs: logits",
    ),
    "difference between sites": (
        change_differences,
        "standardise",
        "p-values between sites",
    ),
    "scale mean": (change_scale_mean, "standardise", "means (in standard deviations)"),
    "scale sd": (change_scale_sd, "standardise", "standard deviations (relative)"),
    "screening p-value": (
        change_selection(p_values=bumped),
        "select_features",
        "van_elteren p-values",
    ),
    "order of the screen": (
        change_selection(pruned=lambda names: names[::-1]),
        "select_features",
        "features left by pruning",
    ),
    "LASSO coefficient": (
        change_selection(lasso=lambda fit: replace(fit, coefficients=bumped(fit.coefficients))),
        "select_features",
        "LASSO coefficients",
    ),
    "LASSO intercept": (
        change_selection(lasso=lambda fit: replace(fit, intercept=fit.intercept + OFF)),
        "select_features",
        "LASSO intercept",
    ),
    "LASSO error": (
        change_selection(lasso=lambda fit: replace(fit, cv_error=fit.cv_error + OFF)),
        "select_features",
        "LASSO cross-validation error",
    ),
    "selection frequency": (
        change_selection(frequency=bumped),
        "select_features",
        "selection frequencies",
    ),
    "balanced accuracy": (
        change_selection(
            looks=lambda looks: replace(looks, balanced_accuracy=looks.balanced_accuracy + OFF)
        ),
        "select_features",
        "balanced accuracy of the site",
    ),
    "calibration": (
        change_selection(
            calibration=lambda fit: replace(fit, coefficients=bumped(fit.coefficients))
        ),
        "select_features",
        "calibration coefficients",
    ),
    "clinical mean": (change_clinical_means, "clinical_model", "means for blanks"),
    "clinical coefficient": (
        change_clinical("coefficients", bumped),
        "clinical_model",
        "coefficients",
    ),
    "univariable coefficient": (
        change_regression(
            "alone", fit=lambda fit: replace(fit, coefficients=bumped(fit.coefficients))
        ),
        "clinical_model",
        "regressions: coefficients",
    ),
    "likelihood ratio": (
        change_regression("together", reached=lambda reached: reached + OFF),
        "clinical_model",
        "regressions: likelihood ratios",
    ),
    "variance inflation by site": (
        change_regression("by_site", inflation=bumped),
        "clinical_model",
        "regressions: variance inflation",
    ),
    "clinical standard error": (
        change_clinical("covariance", lambda covariance: covariance * (1 + OFF) ** 2),
        "clinical_model",
        "standard errors",
    ),
}


@pytest.fixture
def copy(finished_run: Any, tmp_path: Path) -> Path:
    """A copy of the finished run that may be broken."""
    return copied(finished_run.out, tmp_path / "run")


@pytest.fixture
def thorough_copy(thorough_run: Any, tmp_path: Path) -> Path:
    """The same of the study that leaves nothing off."""
    return copied(thorough_run.out, tmp_path / "run")


def copied(run: Path, out: Path) -> Path:
    """Copy a run; its hospitals stay where they are."""
    shutil.copytree(run, out, ignore=shutil.ignore_patterns("cohort", "weights", "report.html"))
    text = (out / "job.json").read_text().replace(f'"out": "{run}"', f'"out": "{out}"')
    (out / "job.json").write_text(text)
    return out


def test_every_exact_number_is_within_the_tolerance(finished_run):
    verification = verify_folder(finished_run.out)
    assert max(check.largest_difference for check in verification.checks) <= 1e-8
    assert {check.stage for check in verification.checks} == {
        "describe_cohort",
        "standardise",
        "select_features",
        "clinical_model",
        "fuse",
        "evaluate",
        "external_evaluate",
    }


def test_so_is_every_one_of_a_study_that_leaves_nothing_off(thorough_run):
    verification = verify_folder(thorough_run.out)
    assert max(check.largest_difference for check in verification.checks) <= 1e-8
    assert {check.stage for check in verification.checks} == {
        "describe_cohort",
        "discretise",
        "stability",
        "standardise",
        "select_features",
        "clinical_model",
        "fuse",
        "evaluate",
        "external_evaluate",
    }


def test_the_command_prints_every_check_and_succeeds(finished_run, capsys):
    assert trifed.main(["verify", str(finished_run.out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "all within 1e-8"
    assert len(lines) == 2 + len(finished_run.results["verify"]["checks"])


def test_verification_leaves_the_run_as_it_was(copy):
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    verify_folder(copy)
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


@pytest.fixture(scope="module")
def looked_at(finished_run: Any) -> dict[tuple[str, str], Any]:
    """By which function of `verify` each quantity of the finished run is looked at."""
    return functions_by_quantity(finished_run.out)


@pytest.fixture(scope="module")
def looked_at_thoroughly(thorough_run: Any) -> dict[tuple[str, str], Any]:
    """The same of the study that leaves nothing off."""
    return functions_by_quantity(thorough_run.out)


def functions_by_quantity(run: Path) -> dict[tuple[str, str], Any]:
    job = read_job(run / "job.json")
    study, settings = StudyFolder(run / "study").load(), job.study()
    pooled = pool_rows(job, study, settings)
    return {
        (found.stage, found.quantity): check
        for check in verify.CHECKS
        for found in check(study, pooled, settings)
    }


@pytest.mark.parametrize("broken", BREAKS)
def test_a_number_off_by_a_millionth_is_found_and_its_stage_named(
    copy, looked_at, monkeypatch, capsys, broken
):
    monkeypatch.setattr(verify, "CHECKS", functions_for(BREAKS[broken], looked_at))
    assert_found(copy, capsys, *BREAKS[broken])


@pytest.mark.parametrize("broken", THOROUGH_BREAKS)
def test_so_is_one_that_only_some_studies_have(
    thorough_copy, looked_at_thoroughly, monkeypatch, capsys, broken
):
    monkeypatch.setattr(
        verify, "CHECKS", functions_for(THOROUGH_BREAKS[broken], looked_at_thoroughly)
    )
    assert_found(thorough_copy, capsys, *THOROUGH_BREAKS[broken])


def functions_for(broken: tuple[Any, str, str], looked_at: dict[Any, Any]) -> tuple[Any, ...]:
    """The one function that looks at what is broken; none for Table 1, always looked at."""
    found = looked_at.get(broken[1:])
    return () if found is None else (found,)


def assert_found(run: Path, capsys: Any, change: Any, stage: str, quantity: str) -> None:
    """Change the saved study: `trifed verify` names the quantity and fails."""
    folder = StudyFolder(run / "study")
    study = folder.load()
    folder.save(study, change(study))
    assert trifed.main(["verify", str(run)]) == 1
    lines = capsys.readouterr().out.splitlines()
    (found,) = [line for line in lines if re.fullmatch(f"{stage} +{re.escape(quantity)} +.*", line)]
    assert float(found.split()[-1]) > 1e-8
    assert lines[-1] == "NOT all within 1e-8"


def test_a_run_that_was_not_finished_cannot_be_verified(tmp_path, capsys):
    assert trifed.main(["verify", str(tmp_path)]) == 1
    assert "holds no finished simulation" in capsys.readouterr().err
