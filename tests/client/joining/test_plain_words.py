"""What a hospital is told of a study before it joins."""

import pytest

from client.joining.plain_words import asked_lines, asked_rows, leaves_lines, study_lines
from client.settings import SiteSettings
from client.stages.embed import demand_rows
from shared.config import digest
from shared.errors import PolicyError
from shared.strict_yaml import parse_settings


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
    external = settings("release: {external: binned}", role="external")
    assert "Nothing is trained" in "\n".join(asked_lines(study, external))
    assert "release.external: binned" in "\n".join(leaves_lines(study, external))


def test_a_study_on_sums_asks_for_no_rows(study, change):
    sums = change(study, fusion={"exchange": "statistics"})
    assert asked_rows(sums) == ()
    assert not [line for line in asked_lines(sums, settings()) if "single" in line]
    assert not [line for line in leaves_lines(sums, settings()) if "will stop" in line]


@pytest.mark.parametrize(
    ("more", "missing"),
    [
        ("", "disclose lacks labels, embeddings, radiomics_score, clinical."),
        ("disclose: [labels, clinical]", "disclose lacks embeddings, radiomics_score."),
        ("disclose: [labels, embeddings, radiomics_score, clinical]", ""),
        (
            "disclose: [labels, embeddings, radiomics_score, clinical]\ndisclose_of: [train]",
            "disclose_of lacks tune.",
        ),
        (
            "disclose: [labels, embeddings, radiomics_score, clinical]\n"
            "release: {max_epsilon: 8.0}",
            "release.max_epsilon is a number.",
        ),
        ("data: {features: f.csv}\ndisclose: [labels, radiomics_score, clinical]", ""),
    ],
    ids=["nothing", "some", "all", "of others", "epsilon", "table"],
)
def test_what_the_study_will_not_get_is_said_beforehand(study, more, missing):
    stops = [line for line in leaves_lines(study, settings(more)) if "will stop" in line]
    assert len(stops) == bool(missing)
    assert all(line.endswith(missing) for line in stops)


@pytest.mark.parametrize("what", ["labels", "embeddings", "radiomics_score", "clinical"])
def test_what_is_said_to_stop_the_study_is_what_stops_it(study, what):
    from types import SimpleNamespace

    every = asked_rows(study)
    disclosed = ", ".join(one for one in every if one != what)
    site = settings(f"disclose: [{disclosed}]")
    assert what in every
    assert f"The study will stop here: disclose lacks {what}." in leaves_lines(study, site)
    bench = SimpleNamespace(
        study=study, site=SimpleNamespace(settings=site, features_from="images")
    )
    with pytest.raises(PolicyError, match=f"asks for '{what}'"):
        demand_rows(bench)


def test_noise_and_limits_are_told_in_numbers(study, change):
    noisy = change(study, dp={"cnn": {"noise_multiplier": 1.0, "epsilon": 4.0}})
    said = "\n".join(leaves_lines(noisy, settings("release: {max_epsilon: 8.0}")))
    assert "epsilon up to 4 (your limit is 8)" in said
