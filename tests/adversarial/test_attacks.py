"""Attacks that are known to work: each does, on a plain copy of the computation, and fails here.

The plain copies are a few lines of numpy or torch. The product is a hospital of forty patients that
tells nothing of fewer than five, asked by letter as a malicious server would ask.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import special

from client.stages import select_features
from client.stages.standardise import answer as answer_moments
from shared.branches import Branch25D, Network
from shared.config import networks
from shared.errors import LeverageError
from shared.models import Extraction, Scale
from shared.networks import build_network, get_weights
from shared.radiomics_settings import Selection
from shared.regressions import Terms
from shared.scores import score_sums
from shared.stages.clinical_model import HatRequest, StepRequest
from shared.stages.select_features import GramRequest, ScreenRequest
from shared.stages.standardise import Request as Moments
from shared.stages.train_branches import Request
from tests.adversarial.hospital import answers, asks, build, refuses, row, served, small_study
from tests.adversarial.test_weights import BRANCH
from tests.site_policies import made_policy

AGED = ("sessile", "age")
ALL = Terms(AGED)
FAR = 1e3


@pytest.fixture(scope="module")
def crowd(tmp_path_factory, study):
    """A hospital of forty patients, twenty of whom train; a cell has five."""
    with served(build(tmp_path_factory.mktemp("crowd") / "a", n=40, min_cell=5), study) as found:
        yield found


@pytest.fixture
def patients(crowd):
    """Its training patients, as the attack would know them: design with an intercept, labels."""
    site = crowd.service.bench.site
    table = site.clinical(site.training, AGED)
    return np.column_stack([np.ones(len(table)), table]), site.labels(site.training)


def plain_sums(X, y, beta):
    """Gradient and information of a logistic regression, told by whoever is asked."""
    p = special.expit(X @ beta)
    return X.T @ (y - p), X.T @ (X * (p * (1 - p))[:, None])


def step(beta, X):
    return asks("clinical_step", StepRequest(X[:, 1:].mean(axis=0), (ALL,), (beta,)))


def cut_at(age):
    """Coefficients that are far from zero for everybody who is not of this age."""
    return np.array([-FAR * age, 0.0, FAR])


@pytest.mark.row("T24")
def test_coefficients_that_select_a_patient_tell_that_patients_row(crowd, patients):
    X, y = patients
    for victim in range(len(X)):
        _, information = plain_sums(X, y, cut_at(X[victim, 2]))
        np.testing.assert_allclose(information[0] / information[0, 0], X[victim], rtol=1e-12)
        refuses(crowd, step(cut_at(X[victim, 2]), X), "E_LEVERAGE")


@pytest.mark.row("T24")
def test_two_gradients_on_both_sides_of_a_patient_tell_that_patients_row(crowd, patients):
    X, y = patients
    ages = np.sort(X[:, 2])
    for below, age, above in zip(ages[:-2], ages[1:-1], ages[2:], strict=True):
        younger, older = (FAR * cut_at((age + other) / 2) for other in (below, above))
        told = plain_sums(X, y, older)[0] - plain_sums(X, y, younger)[0]
        (victim,) = X[X[:, 2] == age]
        np.testing.assert_allclose(told, victim, rtol=1e-12)
        for beta in (younger, older):
            refuses(crowd, step(beta, X), "E_LEVERAGE")


@pytest.mark.row("T25")
@pytest.mark.parametrize("size", [30.0, 1e6, 1e300])
def test_a_jump_of_the_coefficients_is_refused_and_honest_ones_are_answered(crowd, patients, size):
    X, _ = patients
    refuses(crowd, step(size * np.array([0.1, 1.0, -0.5]), X), "E_LEVERAGE")
    answers(crowd, step(np.array([0.3, -0.1, 0.001 / size]), X))


@pytest.mark.row("T25")
def test_a_covariance_that_is_none_is_refused(crowd, patients):
    X, _ = patients
    age = X[7, 2]
    made_up = np.zeros((3, 3))
    made_up[np.ix_([0, 2], [0, 2])] = 1e9 * np.array([[0.25 - age**2, age], [age, -1.0]])
    request = HatRequest(X[:, 1:].mean(axis=0), ALL, np.zeros(3), made_up)
    refuses(crowd, asks("clinical_hats", request), "E_LEVERAGE")


N, P = 30, 6
NAMES = tuple(f"f{j}" for j in range(P))


@pytest.fixture
def radiomics():
    """Thirty patients' features and labels."""
    rng = np.random.default_rng(4)
    return rng.normal(size=(N, P)), np.arange(N) % 2


@pytest.fixture
def bench(radiomics):
    """A site that has them, and asks for so many patients in a cell."""

    def at(limit):
        site = SimpleNamespace(
            name="site_a",
            policy=made_policy(release={"min_cell": limit}),
            training="train",
            features=lambda _cases, _extraction: (NAMES, radiomics[0]),
            labels=lambda _cases: radiomics[1],
        )
        study = SimpleNamespace(seed=1, selection=Selection(folds=3, screen="welch"))
        return SimpleNamespace(site=site, study=study)

    return at


def scale_of(mean, sd, low=-np.inf, high=np.inf):
    full = np.full(P, 1.0)
    return Scale(Extraction({}), NAMES, low * full, high * full, mean, sd, {})


def selecting(X, victim):
    """A scale on which the first feature's values are all clipped but the victim's."""
    mean, sd = np.zeros(P), np.ones(P)
    gaps = np.abs(np.delete(X[:, 0], victim) - X[victim, 0])
    sd[0] = gaps.min() / 10
    mean[0] = X[victim, 0] - sd[0]
    return scale_of(mean, sd)


@pytest.mark.row("T24")
@pytest.mark.parametrize("victim", [3, 17])
def test_a_scale_that_selects_a_patient_tells_that_patients_row_in_products(
    bench, radiomics, victim
):
    """The others' part is the same on a scale that is moved by a hair, and drops out."""
    X, _ = radiomics
    scale = selecting(X, victim)
    moved = selecting(X, victim)
    moved.mean[0] -= scale.sd[0]
    plain = [np.clip((X - s.mean) / s.sd, -5, 5) for s in (moved, scale)]
    told = (plain[0].T @ plain[0] - plain[1].T @ plain[1])[0, 1:]
    np.testing.assert_allclose(told, X[victim, 1:].clip(-5, 5), rtol=1e-6)
    for one in (scale, moved):
        select_features.answer_gram(GramRequest(one), bench(1))
        with pytest.raises(LeverageError, match="stand apart"):
            select_features.answer_gram(GramRequest(one), bench(5))
    assert select_features.answer_gram(GramRequest(scale_of(np.zeros(P), np.ones(P))), bench(5))


@pytest.mark.row("T24")
def test_bounds_that_select_a_patient_tell_that_patients_value(bench, radiomics):
    X, _ = radiomics
    second, largest = np.sort(X[:, 2])[-2:]
    low, high = np.full(P, second), np.full(P, np.inf)
    told = np.clip(X, low, high).mean(axis=0)[2]
    assert second + N * (told - second) == pytest.approx(largest, rel=1e-12)
    with pytest.raises(LeverageError):
        answer_moments(Moments(Extraction({}), NAMES, low, high), bench(5))
    with pytest.raises(LeverageError):
        select_features.answer_screen(
            ScreenRequest(scale_of(np.zeros(P), np.ones(P), low=second)), bench(5)
        )
    ends = np.quantile(X, [0.02, 0.98], axis=0)
    assert answer_moments(Moments(Extraction({}), NAMES, *ends), bench(5))
    assert select_features.answer_screen(
        ScreenRequest(scale_of(np.zeros(P), np.ones(P), low=-2.0, high=2.0)), bench(5)
    )


@pytest.mark.row("T21")
def test_an_update_of_one_patient_holds_the_embedding_and_the_label(tmp_path):
    rng = np.random.default_rng(1)
    h, label = torch.from_numpy(rng.normal(size=16)), 1.0
    head = torch.nn.Linear(16, 1).double()
    before = [p.detach().clone() for p in head.parameters()]
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        head(h), torch.tensor([label], dtype=torch.double)
    )
    loss.backward()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter -= 0.1 * parameter.grad
    weight, bias = ((p.detach() - b) / 0.1 for p, b in zip(head.parameters(), before, strict=True))
    torch.testing.assert_close(weight[0] / bias[0], h, rtol=1e-9, atol=1e-9)
    assert float(bias > 0) == label

    study = small_study(branches=[BRANCH], fusion={"inputs": ["embeddings", "clinical"]})
    weights = get_weights(build_network(networks(study)[0], seed=1))
    with served(build(tmp_path / "a", n=8, min_cell=5), study) as hospital:
        refuses(
            hospital, asks("train_branch", Request("flat", 1, weights, True, 0.0)), "E_SMALL_CELL"
        )


@pytest.mark.row("T13")
def test_the_statistics_of_a_batch_norm_are_one_patients_means_and_there_are_none():
    image = torch.randn(1, 3, 16, 16)
    norm = torch.nn.BatchNorm2d(3, momentum=1.0)
    norm(image)
    torch.testing.assert_close(norm.running_mean, image.mean(dim=(0, 2, 3)))
    branch = Branch25D(name="b", kind="2.5d", network="resnet10", size=(16, 16))
    module = build_network(Network(name="b", branch=branch, phases=("excretory",)), seed=1)
    before = get_weights(module)
    module.train()
    module(torch.randn(1, 3, 16, 16))
    assert list(module.buffers()) == []
    np.testing.assert_array_equal(get_weights(module).vector, before.vector)


@pytest.mark.row("T76")
def test_an_exact_roc_tells_every_label_by_rank_and_bins_that_are_few_tell_hardly_any():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, 600)
    scores = special.expit(rng.normal(size=600) + labels)
    order = np.argsort(-scores)
    steps = np.diff(np.cumsum(labels[order]) / labels.sum(), prepend=0.0) > 0
    np.testing.assert_array_equal(steps, labels[order] == 1)

    sums = score_sums(scores, labels, bins=20, calibration_bins=10, threshold=float("nan"))
    both = np.array([sums.negatives, sums.positives])
    certain = both.sum(axis=0)[(both == 0).any(axis=0)].sum()
    assert certain / 600 < 0.05


@pytest.mark.parametrize("beta", [row("T24", "no numbers", np.full(3, np.nan))])
def test_coefficients_that_are_no_numbers_are_refused(crowd, patients, beta):
    refuses(crowd, step(beta, patients[0]), "E_LEVERAGE")
