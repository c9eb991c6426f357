"""What a hospital is told of a study before it joins."""

from types import SimpleNamespace

import pytest

from client.joining.plain_words import asked_lines, leaves_lines, study_lines
from client.policy.beyond import asked_rows
from client.settings import SiteSettings
from client.stages.embed import demand_rows
from shared.config import digest
from shared.errors import PolicyError
from shared.strict_yaml import parse_settings
from tests.site_policies import made_policy

ROWS = ("labels", "embeddings", "radiomics_score", "clinical")


def settings(more="", *, role="training"):
    text = f"version: 1\nname: site_a\nrole: {role}\n{more}"
    return parse_settings(text, SiteSettings, name="site.yaml")


def test_the_study_says_what_it_is(study):
    said = "\n".join(study_lines(study, digest(study)))
    assert said.startswith("A tiny study\n")
    assert f"tiny, hash {digest(study)[:16]}" in said
    assert "HER2, from the column her2_ihc: positive 2+, 3+; negative 0, 1+" in said
    assert "corticomedullary, nephrographic, excretory" in said
    assert "trained at site_a, site_b" in said
    assert "site_d (sites that only evaluate)" in said


def test_a_training_site_is_told_of_networks_and_rows(study):
    said = "\n".join(asked_lines(study, settings()))
    rounds = sum(branch.training.rounds for branch in study.branches)
    assert f"weights of 2 networks, {rounds} rounds in all" in said
    assert "of single tune patients, without an id: labels, embeddings" in said


def test_an_external_site_is_told_that_nothing_is_trained(study):
    external = settings(role="external")
    assert "Nothing is trained" in "\n".join(asked_lines(study, external))
    said = "\n".join(leaves_lines(study, external, policy(external="binned")))
    assert "release.external: binned" in said
    assert "refused" not in said


def policy(*, dp=None, **release):
    """The pack `standard` without secure sums, with rows of every kind that the study asks for."""
    changed = {"exchange": ("embeddings",), "rows": ROWS} | release
    return made_policy("standard", release=changed, dp=dp or {}, secagg={"required": False})


def refused(study, site, found):
    return [line for line in leaves_lines(study, site, found) if "is refused here" in line]


def test_a_study_on_sums_asks_for_no_rows(study, change):
    sums = change(study, fusion={"exchange": "statistics"})
    assert asked_rows(sums) == ()
    assert not [line for line in asked_lines(sums, settings()) if "single" in line]
    assert not refused(sums, settings(), policy(exchange="statistics", rows=()))


def test_two_hospitals_cannot_hide_their_sums_from_each_other(study, change):
    sums = change(study, fusion={"exchange": "statistics"})
    (line,) = refused(sums, settings(), made_policy("standard"))
    assert "sites.training names 2 of the 3 hospitals" in line
    three = change(sums, sites={"training": ["site_a", "site_b", "site_c"]})
    assert not refused(three, settings(), made_policy("standard"))


@pytest.mark.parametrize(
    ("found", "missing"),
    [
        (
            policy(rows=()),
            ["rows of the policy lacks labels, embeddings, radiomics_score, clinical"],
        ),
        (policy(rows=("labels", "clinical")), ["lacks embeddings, radiomics_score"]),
        (policy(), []),
        (policy(rows_of=("train",)), ["release.rows_of of the policy lacks tune"]),
        (policy(exchange=("scores",)), ["release.exchange of the policy names scores"]),
        (policy(dp={"max_epsilon": 8.0}), ["dp.max_epsilon of the policy is 8"]),
        (policy(dp={"required": True}), ["dp.required of the policy is true"]),
    ],
    ids=["nothing", "some", "all", "of others", "exchange", "epsilon", "noise"],
)
def test_what_the_policy_does_not_allow_is_said_beforehand(study, found, missing):
    lines = refused(study, settings(), found)
    assert len(lines) == len(missing)
    assert all(line.endswith(f"{end}.") for line, end in zip(lines, missing, strict=True))


def test_a_hospital_with_a_table_need_not_let_embeddings_leave(study):
    rows = ("labels", "radiomics_score", "clinical")
    found = policy(rows=rows, exchange=("scores",))
    assert not refused(study, settings("data: {features: f.csv}"), found)
    assert len(refused(study, settings(), found)) == 2


@pytest.mark.parametrize("what", ROWS)
def test_what_is_said_to_stop_the_study_is_what_stops_it(study, what):
    site, found = settings(), policy(rows=tuple(row for row in ROWS if row != what))
    assert what in asked_rows(study)
    (line,) = refused(study, site, found)
    assert line.endswith(f"release.rows of the policy lacks {what}.")
    bench = SimpleNamespace(study=study, site=SimpleNamespace(policy=found, features_from="images"))
    with pytest.raises(PolicyError, match=rf"release\.rows of the policy lacks {what}\."):
        demand_rows(bench)


def test_the_epsilon_of_the_fusion_layer_is_said(study, change):
    fusion = {"exchange": "statistics+dp", "penalties": [3.0], "dp": {"epsilon": 2.0}}
    asked = "\n".join(asked_lines(change(study, fusion=fusion), settings()))
    assert "told with noise: epsilon 2, delta 1e-05 at most" in asked
    assert "single" not in asked


def test_noise_and_limits_are_told_in_numbers(study, change):
    noisy = change(study, dp={"cnn": {"noise_multiplier": 1.0, "epsilon": 4.0}})
    said = "\n".join(leaves_lines(noisy, settings(), policy(dp={"max_epsilon": 8.0})))
    assert "epsilon up to 4 (your limit is 8)" in said


def test_exceptions_and_the_last_day_are_told(study):
    said = "\n".join(leaves_lines(study, settings(), policy(min_cell=3)))
    assert "Your policy (pack standard, valid until 9999-12-31) lets leave:" in said
    assert "exception  release.min_cell: 3, where the pack standard has 5" in said
