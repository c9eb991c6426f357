"""What a site tells of the fusion layer's inputs: of enough patients, or nothing."""

from dataclasses import replace

import numpy as np
import pytest

from client.contributing import told_contributions
from client.predict.contributions import explained
from client.scoring import bundle_columns
from client.service import SiteService
from shared.codec import content_hash
from shared.errors import CodecError
from shared.stages.evaluate import ScoresRequest
from shared.stages.external_evaluate import LEVELS
from tests.made_bundle import bundle_without_networks
from tests.site_policies import changed_policy

COLUMNS = ("radiomics_score", "sessile", "age")


@pytest.fixture
def made(study):
    return bundle_without_networks(study)


@pytest.fixture
def hospital(tmp_path, make_site):
    return make_site(tmp_path / "site", n=12, name="site_d", role="external")


def opened(site_file, study, **release):
    """A hospital's service, with another policy."""
    service = SiteService.open(site_file, study, threads=1)
    site = service.bench.site
    site.policy = changed_policy(site.policy, release=release)
    return service


def blank(site_file, *lines):
    """Take away who is sessile in some lines of the clinical table."""
    path = site_file.parent / "clinical.csv"
    text = path.read_text()
    for line in lines:
        assert line in text
        patient, ihc, _, age = line.split(",")
        text = text.replace(line, f"{patient},{ihc},,{age}")
    path.write_text(text)


def told(site_file, made, **release):
    bench = opened(site_file, made.study, **release).bench
    cases = bench.site.external_test
    return told_contributions(bench, cases, made.bundle, bench.site.labels(cases))


def test_the_sums_are_those_of_every_patient_explained(hospital, made):
    bench = opened(hospital, made.study).bench
    cases = bench.site.external_test
    labels, columns = bench.site.labels(cases), bundle_columns(bench, cases, made.bundle)
    each = [explained(made.bundle.fusion, row, made.study) for row in columns]
    found = told_contributions(bench, cases, made.bundle, labels)
    added = np.array([[part.logit for part in one.columns] for one in each])
    assert found.columns.names == COLUMNS
    np.testing.assert_allclose(found.columns.absolute, np.abs(added).sum(axis=0), rtol=1e-12)
    classes = found.columns.moments
    for label, moments in ((0, classes.negative), (1, classes.positive)):
        np.testing.assert_allclose(moments.mean, added[labels == label].mean(axis=0), atol=1e-12)
    assert found.sources.names == tuple(each[0].sources)
    sources = np.array([list(one.sources.values()) for one in each])
    np.testing.assert_allclose(found.sources.absolute, np.abs(sources).sum(axis=0), rtol=1e-12)


def test_a_blank_cell_counts_as_missing_though_the_mean_stands_in_it(hospital, made):
    blank(hospital, "P001,2+,yes,61", "P003,3+,no,63")
    found = told(hospital, made, min_cell=4)
    assert found.columns.n_missing.tolist() == [0, 2, 0]
    assert found.sources.n_missing.tolist() == [0, 0]
    assert found.columns.moments.positive.n.tolist() == [6, 6, 6]


def test_two_patients_with_a_value_keep_a_site_silent(hospital, made, caplog):
    blank(hospital, "P001,2+,yes,61", "P003,3+,no,63", "P005,2+,yes,65", "P007,3+,no,67")
    assert told(hospital, made, min_cell=2) is not None
    assert told(hospital, made, min_cell=3) is None
    assert "nothing is told of what the fusion layer's inputs add" in caplog.text


def test_an_input_that_nobody_has_tells_of_nobody(hospital, made):
    lines = hospital.parent.joinpath("clinical.csv").read_text().splitlines()[1:]
    blank(hospital, *lines)
    found = told(hospital, made, min_cell=5)
    assert found.columns.n_missing.tolist() == [0, 12, 0]
    assert found.columns.moments.positive.m2[1] == 0


def test_a_label_with_too_few_patients_keeps_a_site_silent(hospital, made):
    assert told(hospital, made, min_cell=6) is not None
    assert told(hospital, made, min_cell=7) is None


def test_every_level_tells_the_same_of_the_inputs(hospital, made):
    hashes = set()
    for level in LEVELS:
        service = opened(hospital, made.study, external=level)
        for book in hospital.parent.rglob("looks.json"):
            book.unlink()
        reply = service.answer("external_scores", ScoresRequest(made.bundle))
        assert (reply.level, reply.contributions.columns.names) == (level, COLUMNS)
        hashes.add(content_hash(reply.contributions))
    assert len(hashes) == 1


def test_a_training_site_is_silent_of_the_inputs_alone(tmp_path, make_site, made):
    site_file = make_site(tmp_path / "a", n=24, split=True)
    request = ScoresRequest(made.bundle)
    reply = opened(site_file, made.study, min_cell=3).answer("evaluate_scores", request)
    of_test = reply.models["fusion"]["internal_test"].n
    assert reply.contributions.columns.moments.positive.n[0] * 2 == of_test == 8
    blank(site_file, "P005,2+,yes,65", "P011,3+,no,71")
    reply = opened(site_file, made.study, min_cell=3).answer("evaluate_scores", request)
    assert reply.contributions is None
    assert reply.models["fusion"]["internal_test"].n == of_test


def test_a_layer_of_other_columns_than_the_studys_is_refused(hospital, made):
    fusion = replace(made.bundle.fusion, columns=("radiomics_score", "age", "sessile"))
    other = replace(made, bundle=replace(made.bundle, fusion=fusion))
    with pytest.raises(CodecError, match="not the study's"):
        told(hospital, other)
