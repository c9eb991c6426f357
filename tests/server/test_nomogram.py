"""The nomogram gives the probability that the fusion layer gives."""

import json

import numpy as np
import pytest

from server.report.nomogram import MOST, nomogram, nomogram_pictures
from server.report.picture import to_files


@pytest.fixture(scope="module")
def results(finished_run):
    return json.loads((finished_run.out / "results.json").read_text())


def layer(coefficients, means, sds, intercept=-0.3):
    first = {"name": "intercept", "coefficient": intercept, "per_unit": None}
    return [first] + [
        {"name": f"c{i}", "mean": m, "sd": s, "coefficient": c, "per_unit": c / s}
        for i, (c, m, s) in enumerate(zip(coefficients, means, sds, strict=True))
    ]


def test_points_read_off_the_scales_give_the_layer_s_probability():
    rng = np.random.default_rng(3)
    c, m, s = rng.normal(size=5), rng.normal(size=5), rng.uniform(0.1, 9, 5)
    found = nomogram(layer(c, m, s))
    for _ in range(20):
        x = m + s * rng.normal(size=5)
        logit = -0.3 + c @ ((x - m) / s)
        points = sum(scale.points(value) for scale, value in zip(found.scales, x, strict=True))
        assert found.probability(points) == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-12)
        assert found.points_at(found.probability(points)) == pytest.approx(points)


def test_every_marked_value_has_points_from_0_and_the_widest_column_has_100():
    found = nomogram(layer([0.4, -1.5, 0.02], [3.0, -2.0, 0.0], [1.0, 0.2, 5.0]))
    points = [[scale.points(value) for value in scale.ticks] for scale in found.scales]
    assert [min(p) for p in points] == pytest.approx([0, 0, 0], abs=1e-9)
    assert max(map(max, points)) == pytest.approx(MOST)
    assert found.most_points == pytest.approx(sum(map(max, points)))


def test_yes_or_no_is_marked_as_such_and_a_column_without_weight_has_no_scale():
    share = 0.3
    found = nomogram(layer([0.5, 0.0], [share, 1.0], [np.sqrt(share * (1 - share)), 1.0]))
    assert [scale.ticks for scale in found.scales] == [(0.0, 1.0)]
    assert nomogram(layer([0.0], [1.0], [1.0])) is None
    assert nomogram([]) is None


def test_the_run_s_nomogram_gives_the_mean_patient_the_intercept_s_probability(results):
    inputs = results["fusion"]["inputs"]
    found = nomogram(inputs)
    means = {row["name"]: row["mean"] for row in inputs}
    points = sum(scale.points(means[scale.name]) for scale in found.scales)
    expected = 1 / (1 + np.exp(-inputs[0]["coefficient"]))
    assert found.probability(points) == pytest.approx(expected, abs=1e-9)


def test_it_is_drawn_with_its_threshold_and_says_that_patients_are_made_up(results):
    (picture,) = nomogram_pictures(results)
    assert "triangle" in picture.caption
    svg = to_files(picture, synthetic=True, dpi=100)["svg"].decode()
    for word in ("synthetic data", "Total points", "Probability", "Sessile", "yes"):
        assert word in svg
