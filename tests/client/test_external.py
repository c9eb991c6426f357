"""What an external site tells: as much as its site file says, and no more."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from client.looks import open_cohort
from client.service import SiteService
from client.stages.external_evaluate import evaluate_bundle, score_table
from server.coordinator import need
from server.study_folder import StudyFolder
from shared.codec import content_hash, pack
from shared.config import load_study
from shared.contributions import sources_of
from shared.errors import CodecError
from shared.fusion_columns import fusion_names
from shared.scores import score_sums
from shared.stages.external_evaluate import LEVELS
from shared.summary import summarise
from tests.site_policies import changed_policy


@pytest.fixture(scope="module")
def frozen(finished_run):
    """The finished run's settings and bundle."""
    study = StudyFolder(finished_run.out / "study").load()
    record = need(study.evaluate, "evaluate")
    return load_study(finished_run.out / "study.yaml"), record.bundle


@pytest.fixture
def told(finished_run, frozen):
    """What the finished run's external site says of its bundle at a level."""

    def at(level):
        settings, bundle = frozen
        site_file = finished_run.out / "cohort" / "site_d" / "site.yaml"
        service = SiteService.open(site_file, settings, threads=1)
        site = service.bench.site
        site.policy = changed_policy(site.policy, release={"external": level})
        cohort = open_cohort(service.bench.looks, site.external_test)
        return evaluate_bundle(service.bench, bundle, cohort)

    return at


def test_a_summary_holds_no_array_of_scores(told, frozen):
    arrays, k = pack(told("summary")).arrays, len(frozen[0].model_names)
    rest = {n: a for n, a in arrays.items() if not n.startswith("description/")}
    shapes = {"comparison/aucs/auc": (k,), "comparison/aucs/covariance": (k, k)}
    shapes |= {"comparison/paired/sums": (2, k), "comparison/paired/products": (2, k, k)}
    decisions = {"thresholds": (k,), "positives": (k, k), "negatives": (k, k)}
    names = fusion_names(frozen[0])
    inputs = {"columns": len(names), "sources": len(set(sources_of(names, frozen[0])))}
    for part, n in inputs.items():
        shapes |= {f"contributions/{part}/{name}": (n,) for name in ("absolute", "n_missing")}
        moments = product(("negative", "positive"), ("n", "mean", "m2"))
        shapes |= {f"contributions/{part}/moments/{y}/{name}": (n,) for y, name in moments}
    shapes |= {f"comparison/paired/decisions/{name}": shape for name, shape in decisions.items()}
    assert {name: array.shape for name, array in rest.items()} == shapes


@pytest.mark.parametrize("level", LEVELS)
def test_each_level_tells_what_it_names(told, level):
    reply = told(level)
    assert reply.level == level
    assert bool(reply.sums) == (level != "summary")
    assert (reply.scores is not None) == (level == "scores")


def test_every_level_says_the_same_of_the_same_scores(told, frozen):
    summary, binned, scores = map(told, LEVELS)
    settings, bundle = frozen
    for model in settings.model_names:
        column = scores.scores.scores[:, scores.scores.models.index(model)]
        labels, threshold = scores.scores.labels, bundle.thresholds[model]
        again = summarise(column, labels, threshold=threshold)
        assert summary.summaries[model] == binned.summaries[model] == scores.summaries[model]
        assert again.auc == pytest.approx(summary.summaries[model].auc, rel=1e-12)
        bins = settings.evaluation.score_bins
        sums = score_sums(column, labels, bins=bins, calibration_bins=10, threshold=threshold)
        np.testing.assert_array_equal(sums.negatives, binned.sums[model].negatives)
        np.testing.assert_array_equal(sums.positives, scores.sums[model].positives)


def test_the_order_of_rows_says_nothing_of_the_patients_order():
    found = {"a": np.array([0.3, np.nan, 0.3, 0.1]), "b": np.array([0.9, 0.2, 0.4, 0.5])}
    labels, order = np.array([1, 0, 0, 1]), [2, 0, 3, 1]
    one = score_table(found, labels)
    other = score_table({m: scores[order] for m, scores in found.items()}, labels[order])
    assert content_hash(one) == content_hash(other)
    np.testing.assert_array_equal(one.scores[:, 1], [0.5, 0.4, 0.9, 0.2])
    np.testing.assert_array_equal(one.labels, [1, 0, 1, 0])


def test_a_reply_that_tells_more_than_its_level_is_refused(told):
    binned = told("binned")
    with pytest.raises(CodecError, match="not the level's"):
        replace(binned, level="summary")
    with pytest.raises(CodecError, match="not the level's"):
        replace(binned, level="scores")
