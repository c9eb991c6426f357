"""The server's half of `stability`: which features go on, and what the results and report say."""

import json
from typing import Any

import numpy as np
import pytest

from server.plain import clean
from server.report.stability import stability_line, stability_tables
from server.stability_results import stability_results
from server.stages.stability import kind_of, stable_names
from server.study import StabilityRecord
from shared.errors import CohortError
from shared.icc import Icc, icc, icc_sums
from shared.radiomics_settings import Stability

NAMES = tuple(
    f"excretory__{rest}"
    for rest in (
        "original__shape__Volume",
        "original__glszm__ZoneEntropy",
        "wavelet_HHH__glszm__ZoneEntropy",
        "original__firstorder__Constant",
        "original__firstorder__Unread",
    )
)
NOISE = np.array([0.05, 0.3, 2.0, 0.0, 0.1])


def readings(n: int = 30) -> np.ndarray:
    """Patients that differ by an SD of 1, masks by the noise; a constant; one read by one patient.

    The true intraclass correlations of the first three are 1 / (1 + noise^2): .998, .917 and .2.
    """
    rng = np.random.default_rng(5)
    table = rng.normal(size=(n, 1, 5)) + NOISE * rng.normal(size=(n, 6, 5))
    table[..., 3] = 7.0
    table[1:, 0, 4] = np.nan
    return np.asarray(table)


def found(**changes: Any) -> tuple[StabilityRecord, Stability]:
    settings = Stability(**changes)
    pooled = icc_sums(NAMES, readings())
    judged = icc(pooled, kind_of(settings))
    return StabilityRecord(pooled, judged, stable_names(judged, settings)), settings


def one(estimate: float, low: float) -> Icc:
    return Icc(("x",), np.array([estimate]), np.array([low]), np.array([1.0]))


def test_features_go_on_whose_noise_is_small_against_the_patients_differences() -> None:
    record, _ = found()
    assert record.kept == NAMES[:2]
    np.testing.assert_allclose(record.icc.estimate[:3], 1 / (1 + NOISE[:3] ** 2), atol=0.12)


def test_the_bound_that_counts_is_the_one_the_study_names() -> None:
    uncertain = one(0.8, 0.6)
    assert stable_names(uncertain, Stability(bound="estimate")) == ("x",)
    with pytest.raises(CohortError, match=r"the largest is 0\.60"):
        stable_names(uncertain, Stability(bound="low"))


def test_if_nobody_was_read_the_error_says_so_and_what_to_do() -> None:
    nobody = one(np.nan, np.nan)
    with pytest.raises(CohortError, match=r"could be read again; .*bring images"):
        stable_names(nobody, Stability())
    with pytest.raises(CohortError, match=r"could be read again; .*column mask2"):
        stable_names(nobody, Stability(by="reader"))


def test_redrawn_masks_have_no_order_and_a_readers_bias_is_error() -> None:
    assert kind_of(Stability()) == "1,1"
    assert kind_of(Stability(by="reader")) == "A,1"


def test_the_results_count_by_family_and_filter_and_list_every_feature() -> None:
    record, settings = found()
    results = clean(stability_results(record, settings))
    json.dumps(results, allow_nan=False)
    counts = {key: results[key] for key in ("n_cases", "n_readings", "n_features", "n_kept")}
    assert counts == {"n_cases": 30, "n_readings": 6, "n_features": 5, "n_kept": 2}
    assert results["n_not_judged"] == 2
    families = {group["name"]: group for group in results["by_family"]}
    assert families["glszm"]["median_icc"] == pytest.approx(np.mean(record.icc.estimate[1:3]))
    assert [families[name]["n_kept"] for name in ("shape", "glszm", "firstorder")] == [1, 1, 0]
    assert families["firstorder"]["median_icc"] is None
    assert [(g["name"], g["n"]) for g in results["by_filter"]] == [
        ("original", 4),
        ("wavelet_HHH", 1),
    ]
    assert [entry["feature"] for entry in results["features"]] == list(NAMES)
    assert [entry["kept"] for entry in results["features"]] == [True, True, False, False, False]
    assert [entry["n"] for entry in results["features"]] == [30, 30, 30, 30, 1]
    assert results["features"][1]["ci"] == [record.icc.low[1], record.icc.high[1]]
    assert results["features"][3]["icc"] is None


def test_a_study_that_does_not_ask_has_no_such_results_sentence_or_table() -> None:
    assert stability_results(StabilityRecord(None, None, None), None) is None
    assert stability_line({"radiomics": {"stability": None}}) == ""
    assert stability_tables({"radiomics": {}}) == []


def test_the_report_says_how_many_went_on_and_shows_each_family() -> None:
    record, settings = found()
    results = {"radiomics": {"stability": clean(stability_results(record, settings))}}
    line = stability_line(results)
    assert "30 training cases were read 6 times" in line
    assert "2 of 5 features have an intraclass correlation, ICC(1,1)" in line
    assert "lower 95% bound of .75 or more" in line
    assert "2 have none" in line
    family, filters = stability_tables(results)
    assert [row[0].text for row in family.rows] == ["shape", "glszm", "firstorder"]
    assert [row[4].text for row in family.rows] == ["1.00", ".50", ".00"]
    assert [row[0].text for row in filters.rows] == ["original", "wavelet_HHH"]
