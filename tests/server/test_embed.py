import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from server.stages.embed import fixed_projection, principal_components, stack_rows
from shared.branches import Branch25D
from shared.config import Network
from shared.errors import CodecError, CohortError, FederationError
from shared.fusion_settings import Embedding
from shared.models import Projection, project
from shared.networks import build_network, embed, get_weights, head_of
from shared.stages.embed import EmbeddingSums, RowsReply

NETWORK = Network(
    name="flat",
    branch=Branch25D(name="flat", kind="2.5d", network="resnet10", size=(16, 16)),
    phases=("excretory",),
)


@pytest.fixture(scope="module")
def rows():
    """Embeddings of 40 cases whose directions have clearly different spreads."""
    rng = np.random.default_rng(2)
    spread = np.array([9, 5, 3, 1, 0.5, 0.2])
    turned, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    return rng.normal(size=(40, 6)) * spread @ turned + 100


def sums(rows):
    return EmbeddingSums(len(rows), rows.sum(axis=0), rows.T @ rows)


@pytest.mark.parametrize("cuts", [(20,), (1, 39), (0, 7)], ids=["even", "one case", "empty site"])
def test_principal_components_from_sums_are_those_of_the_pooled_rows(rows, cuts):
    mean, components = principal_components([sums(p) for p in np.split(rows, cuts)], 3)
    reference = PCA(3, svd_solver="full").fit(rows)
    signs = np.sign((components * reference.components_.T).sum(axis=0))
    np.testing.assert_allclose(mean, reference.mean_, rtol=1e-12)
    np.testing.assert_allclose(components * signs, reference.components_.T, atol=1e-8)


def test_reduced_embeddings_are_the_pooled_principal_scores(rows):
    mean, components = principal_components([sums(rows[:9]), sums(rows[9:])], 2)
    found = project(Projection("n", "b", mean, components, np.zeros(2)), rows)
    expected = PCA(2, svd_solver="full").fit_transform(rows)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-8)


def test_the_largest_entry_of_each_component_is_positive(rows):
    for one in (rows, -rows):
        _, components = principal_components([sums(one)], 4)
        assert (components[np.abs(components).argmax(axis=0), np.arange(4)] > 0).all()


def test_the_components_are_orthonormal_and_the_widest_comes_first(rows):
    _, components = principal_components([sums(rows)], 4)
    np.testing.assert_allclose(components.T @ components, np.eye(4), atol=1e-12)
    assert (np.diff((rows @ components).var(axis=0)) < 0).all()


def test_more_components_than_cases_are_refused(rows):
    with pytest.raises(CohortError, match=r"dimension is 3, but only 3 cases"):
        principal_components([sums(rows[:2]), sums(rows[2:3])], 3)


@pytest.mark.parametrize(
    "changes",
    [
        {"n": -1},
        {"sum_x": np.array([1.0, np.nan])},
        {"sum_x": np.zeros(3)},
        {"sum_xx": np.zeros((2, 3))},
        {"sum_xx": np.full((2, 2), np.inf)},
        {"sum_xx": np.zeros((2, 2), np.float32)},
    ],
    ids=["negative", "NaN", "longer", "not square", "infinite", "float32"],
)
def test_sums_that_contradict_themselves_are_refused(changes):
    sound = {"n": 3, "sum_x": np.zeros(2), "sum_xx": np.zeros((2, 2))}
    with pytest.raises(CodecError):
        EmbeddingSums(**(sound | changes))


@pytest.mark.parametrize("name", ["resnet10", "densenet121"])
def test_the_logit_projection_gives_the_networks_logit(name):
    branch = Branch25D(name="flat", kind="2.5d", network=name, size=(32, 32))
    network = Network(name="flat", branch=branch, phases=("excretory",))
    module = build_network(network, seed=4).eval()
    batch = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    torch.nn.init.constant_(head_of(module).bias, 0.7)
    fixed = fixed_projection(Embedding(reduce="logit", dimension=1), network, get_weights(module))
    with torch.inference_mode():
        logits = module(batch).squeeze(1)
        found = project(Projection("n", "b", *fixed), embed(module, batch).numpy())
    np.testing.assert_allclose(found[:, 0], logits.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dimension", [1, 3, 64])
def test_the_pooled_projection_gives_the_means_of_blocks(dimension):
    embeddings = np.random.default_rng(0).normal(size=(4, 512))
    settings = Embedding(reduce="pooled", dimension=dimension)
    weights = get_weights(build_network(NETWORK, seed=0))
    fixed = fixed_projection(settings, NETWORK, weights)
    blocks = np.array_split(embeddings, dimension, axis=1)
    expected = np.stack([block.mean(axis=1) for block in blocks], axis=1)
    found = project(Projection("n", "b", *fixed), embeddings)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-14)


def reply(labels, columns=("x", "y")):
    n = len(labels)
    rows = np.arange(n * len(columns), dtype=float).reshape(n, len(columns))
    return RowsReply(columns, rows, np.array(labels, dtype=np.int64))


def test_rows_are_stacked_with_the_site_of_each():
    columns, rows, labels, sites = stack_rows(
        {"site_a": reply([0, 1]), "site_b": reply([1]), "site_c": reply([])}
    )
    assert (columns, sites) == (("x", "y"), ("site_a", "site_a", "site_b"))
    np.testing.assert_array_equal(rows, [[0, 1], [2, 3], [0, 1]])
    np.testing.assert_array_equal(labels, [0, 1, 1])


@pytest.mark.parametrize("columns", [("x", "z"), ("y", "x"), ("x",)])
def test_rows_with_other_columns_are_refused(columns):
    with pytest.raises(FederationError, match="different columns"):
        stack_rows({"site_a": reply([0]), "site_b": reply([1], columns)})


@pytest.mark.parametrize(
    ("rows", "labels"),
    [
        (np.zeros((2, 2)), np.array([0])),
        (np.zeros((1, 3)), np.array([0])),
        (np.zeros((1, 2), np.float32), np.array([0])),
        (np.array([[0, np.inf]]), np.array([0])),
        (np.zeros((1, 2)), np.array([2])),
        (np.zeros((1, 2)), np.array([-1])),
        (np.zeros((1, 2)), np.array([0.5])),
    ],
    ids=["more rows", "more columns", "float32", "infinite", "label 2", "label -1", "half a label"],
)
def test_rows_that_contradict_themselves_are_refused(rows, labels):
    with pytest.raises(CodecError):
        RowsReply(("x", "y"), rows, labels)


def test_a_value_that_a_case_does_not_have_may_be_missing():
    RowsReply(("x", "y"), np.array([[0, np.nan]]), np.array([1]))
