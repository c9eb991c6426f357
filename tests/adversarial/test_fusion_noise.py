"""A server that wants more of the fusion layer than noise was reckoned for: refused, one row."""

import numpy as np
import pytest

from client.ledger import NAME
from shared.fusion_sums import Layers
from shared.letter import read
from shared.noised_rows import opened_rows
from shared.stages.embed import NoisedRowsReply, NoisedRowsRequest
from shared.stages.fuse import NoisedReply, NoisedRequest
from tests.adversarial.hospital import asks, build, refuses, served, small_study
from tests.adversarial.test_output import ROWS

K = 3
ANOTHER_RUN = "0b" * 16


def fitting(exchange, **dp):
    """A study of one answer with noise."""
    noise = {"steps": 1, **dp}
    inputs = ["radiomics_score", "clinical"]
    return small_study(
        fusion={"inputs": inputs, "exchange": exchange, "penalties": [3.0], "dp": noise}
    )


def sums_at(beta, step=1):
    layer = Layers(np.array([-1]), np.zeros((1, K)), np.ones((1, K)), np.full((1, 1 + K), beta))
    return NoisedRequest(step, ROWS, layer)


def rows_at(sd):
    return NoisedRowsRequest(ROWS, np.zeros(K), np.full(K, sd))


QUESTIONS = {
    "statistics+dp": ("fusion_noised", NoisedReply, sums_at),
    "embeddings+dp": ("embed_noised", NoisedRowsReply, rows_at),
}


@pytest.mark.row("T56")
@pytest.mark.parametrize("exchange", QUESTIONS)
def test_a_second_question_is_refused_after_a_restart_without_cache_and_in_a_new_run(
    tmp_path, exchange
):
    name, reply, at = QUESTIONS[exchange]
    site_file, study = build(tmp_path / "a", n=12, split=True), fitting(exchange)
    with served(site_file, study) as hospital:
        first = read(reply, hospital.hand_in(asks(name, at(1.0))))
        assert [entry.round for entry in first.spent] == [1]
        refuses(hospital, asks(name, at(2.0)), "E_BUDGET")
    for path in (tmp_path / "a").rglob("noised/*.json"):
        path.unlink()
    with served(site_file, study) as hospital:
        refuses(hospital, asks(name, at(2.0)), "E_BUDGET")
        refuses(hospital, asks(name, at(2.0), run=ANOTHER_RUN), "E_BUDGET")
    assert (tmp_path / "a" / NAME).read_text().count('"spending"') == 1


@pytest.mark.row("T16")
@pytest.mark.parametrize("exchange", QUESTIONS)
def test_the_same_question_of_another_run_is_told_the_same_and_not_booked_again(tmp_path, exchange):
    name, reply, at = QUESTIONS[exchange]
    site_file, study = build(tmp_path / "a", n=12, split=True), fitting(exchange)
    with served(site_file, study) as hospital:
        one, two = (
            read(reply, hospital.hand_in(asks(name, at(1.0), run=run)))
            for run in ("0a" * 16, ANOTHER_RUN)
        )
    assert one.spent == two.spent
    numbers = [r.numbers if exchange == "embeddings+dp" else r.sums.score for r in (one, two)]
    np.testing.assert_array_equal(*numbers)


@pytest.mark.row("T55")
@pytest.mark.parametrize("exchange", QUESTIONS)
def test_two_like_hospitals_with_the_studys_seed_draw_other_noise(tmp_path, exchange):
    name, reply, at = QUESTIONS[exchange]
    study, found = fitting(exchange), []
    for place in "ab":
        with served(build(tmp_path / place, n=12, split=True), study) as hospital:
            told = read(reply, hospital.hand_in(asks(name, at(1.0))))
        found.append(told.numbers if exchange == "embeddings+dp" else told.sums.information)
    assert np.mean(found[0] != found[1]) > 0.9


@pytest.mark.row("T24")
def test_coefficients_that_single_out_a_patient_are_told_in_noise_that_hides_one(tmp_path):
    """The selector's answer is a patient's part, no longer than what the noise is reckoned for."""
    study = fitting("statistics+dp")
    with served(build(tmp_path / "a", n=12, split=True), study) as hospital:
        selecting = sums_at(1e6)
        told = read(NoisedReply, hospital.hand_in(asks("fusion_noised", selecting))).sums
    # One standard deviation of the noise is about one and a half of the longest part.
    numbers = np.concatenate([told.score, told.information]) / 2**20
    assert np.linalg.norm(numbers) < 12 + 1.5 * 6 * np.sqrt(len(numbers))
    assert np.linalg.norm(numbers) > 0.5


@pytest.mark.row("T26")
@pytest.mark.parametrize("exchange", QUESTIONS)
def test_no_other_mode_is_answered(tmp_path, exchange):
    other = "embeddings+dp" if exchange == "statistics+dp" else "statistics+dp"
    name, _, at = QUESTIONS[exchange]
    with served(build(tmp_path / "a", n=12, split=True), fitting(other)) as hospital:
        refuses(hospital, asks(name, at(1.0)), "E_POLICY")
        refuses(hospital, asks("embed_rows", ROWS), "E_POLICY")
    with served(build(tmp_path / "b", n=12, split=True), fitting("statistics")) as hospital:
        refuses(hospital, asks(name, at(1.0)), "E_POLICY")


@pytest.mark.row("T21")
@pytest.mark.parametrize("exchange", QUESTIONS)
def test_too_few_patients_are_not_told_of_with_noise_either_and_nothing_is_booked(
    tmp_path, exchange
):
    name, _, at = QUESTIONS[exchange]
    site_file = build(tmp_path / "a", n=12, split=True, min_cell=5)
    with served(site_file, fitting(exchange)) as hospital:
        refuses(hospital, asks(name, at(1.0)), "E_SMALL_CELL")
    assert not (tmp_path / "a" / NAME).exists()


@pytest.mark.row("T20")
@pytest.mark.parametrize("step", [0, 2, 10**6])
def test_a_step_that_the_study_does_not_have_is_refused(tmp_path, step):
    with served(build(tmp_path / "a", n=12, split=True), fitting("statistics+dp")) as hospital:
        refuses(hospital, asks("fusion_noised", sums_at(1.0, step=step)), "E_POLICY")


@pytest.mark.row("T57")
def test_the_booking_in_the_reply_is_the_one_on_disk(tmp_path):
    study = fitting("embeddings+dp", epsilon=2.0)
    with served(build(tmp_path / "a", n=12, split=True), study) as hospital:
        told = read(NoisedRowsReply, hospital.hand_in(asks("embed_noised", rows_at(1.0))))
        row = hospital.rows()[-1]
    assert (row.verdict, row.question) == ("released", "embed_noised")
    (entry,) = told.spent
    assert entry.id in (tmp_path / "a" / NAME).read_text()
    assert (entry.budget, entry.delta) == (2.0, 1e-5)
    rows, labels = opened_rows(told.numbers, study.fusion.dp.clip_norm)
    assert rows.shape == (len(labels), K)
