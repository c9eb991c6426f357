import numpy as np
import pytest

from server.aggregate import Aggregator, Checked, Update, build_strategy, check_updates, fault_of
from shared.config import Aggregation
from shared.errors import AggregationError, CodecError, ConfigError
from shared.networks import Layout, Weights

LAYOUT = Layout(("conv.weight", "fc.bias"), ((2, 2), (1,)))
CURRENT = Weights(LAYOUT, np.arange(5, dtype=np.float32))


def update(*values, n_cases=10):
    return Update(Weights(LAYOUT, np.array(values or range(5), dtype=np.float32)), n_cases)


def forced(update, **changes):
    """An update as a broken codec might let it through."""
    for name, value in changes.items():
        place = update if name == "n_cases" else update.weights
        object.__setattr__(place, name, value)
    return update


def settings(strategy="FedAvg", **changes):
    arguments = changes.pop("arguments", {})
    return Aggregation(strategy=strategy, arguments=arguments, **changes)


def checked(updates, *, current=CURRENT, of=None):
    """The updates as the guard hands them to the strategy."""
    return {
        site: Checked(
            update.n_cases,
            fault_of(of or settings(), current, update),
            lambda vector=update.weights.vector: vector,
        )
        for site, update in updates.items()
    }


def aggregate(updates, *, of=None, round_number=1):
    aggregator = Aggregator(of or settings(), len(updates))
    aggregator.configure(round_number, CURRENT)
    return aggregator.aggregate(round_number, CURRENT, checked(updates, of=of))


def random_updates(seed=0, n_sites=3, size=1000):
    rng = np.random.default_rng(seed)
    layout = Layout(("w",), ((size,),))
    current = Weights(layout, rng.normal(size=size).astype(np.float32))
    return current, {
        f"site_{'abcdefg'[i]}": Update(
            Weights(layout, rng.normal(size=size).astype(np.float32)), int(rng.integers(50, 150))
        )
        for i in range(n_sites)
    }


def several_rounds(aggregator, current, rounds):
    for number in rounds:
        _, updates = random_updates(number)
        aggregator.configure(number, current)
        current = aggregator.aggregate(number, current, checked(updates, current=current))
    return current


FAULTS = {
    "NaN": (lambda: update(0, 1, np.nan, 3, 4), "NaN or infinity"),
    "infinity": (lambda: update(0, 1, 2, 3, -np.inf), "NaN or infinity"),
    "no cases": (lambda: update(n_cases=0), "impossible"),
    "negative cases": (lambda: update(n_cases=-99), "impossible"),
    "10^12 cases": (lambda: update(n_cases=10**12), "impossible"),
    "cases as bool": (lambda: update(n_cases=True), "whole number"),
    "cases as float": (lambda: update(n_cases=10.0), "whole number"),
    "cases as NaN": (lambda: update(n_cases=np.nan), "whole number"),
    "cases as list": (lambda: update(n_cases=[10]), "whole number"),
    "wrong names": (
        lambda: Update(Weights(Layout(("a", "b"), LAYOUT.shapes), CURRENT.vector), 10),
        "other names or shapes",
    ),
    "wrong shapes": (
        lambda: Update(Weights(Layout(LAYOUT.names, ((4,), (1,))), CURRENT.vector), 10),
        "other names or shapes",
    ),
    "a tensor too few": (
        lambda: Update(Weights(Layout(("fc.bias",), ((1,),)), CURRENT.vector[:1]), 10),
        "other names or shapes",
    ),
    "one number to broadcast": (
        lambda: forced(update(), vector=np.zeros(1, np.float32)),
        "wrong size",
    ),
    "a column to broadcast": (
        lambda: forced(update(), vector=np.zeros((5, 1), np.float32)),
        "wrong size",
    ),
    "float64": (lambda: forced(update(), vector=np.zeros(5)), "float64, not float32"),
    "integers": (lambda: forced(update(), vector=np.zeros(5, np.int64)), "int64, not float32"),
}


@pytest.mark.parametrize("strategy", ["FedAvg", "FedAdam", "FedMedian", "Krum"])
@pytest.mark.parametrize("what", FAULTS)
def test_one_bad_update_refuses_the_round_and_names_its_site(what, strategy):
    make, reason = FAULTS[what]
    with pytest.raises(AggregationError, match=f"site_b: .*{reason}") as refusal:
        aggregate({"site_a": update(), "site_b": make(), "site_c": update()}, of=settings(strategy))
    assert "site_a" not in str(refusal.value)


def test_every_site_at_fault_is_named():
    with pytest.raises(AggregationError, match=r"site_a: .*NaN.*; site_c: .*count"):
        aggregate(
            {
                "site_a": update(np.nan, 0, 0, 0, 0),
                "site_b": update(),
                "site_c": update(n_cases=0),
            }
        )


def test_no_update_at_all_is_refused():
    with pytest.raises(AggregationError, match="no site"):
        check_updates(settings(), {})


def test_a_site_above_the_largest_share_refuses_the_round():
    updates = {"site_a": update(n_cases=81), "site_b": update(n_cases=19)}
    with pytest.raises(AggregationError, match=r"site_a would carry 81% .* is 80%"):
        aggregate(updates)


def test_a_site_exactly_at_the_largest_share_may_carry_it():
    aggregate({"site_a": update(n_cases=80), "site_b": update(n_cases=20)})


def test_a_site_that_trains_alone_carries_everything():
    result = aggregate({"site_a": update(5, 4, 3, 2, 1)})
    np.testing.assert_array_equal(result.vector, [5, 4, 3, 2, 1])


def test_more_cases_than_the_study_allows_are_refused():
    with pytest.raises(AggregationError, match="site_b: its count of cases, 11"):
        aggregate(
            {"site_a": update(), "site_b": update(n_cases=11)}, of=settings(max_cases_per_site=10)
        )


@pytest.mark.parametrize("what", FAULTS)
def test_a_refused_round_leaves_the_model_and_the_strategy_as_they_were(what):
    aggregator, untouched = (Aggregator(settings("FedAdam"), 2) for _ in range(2))
    good = {"site_a": update(1, 1, 1, 1, 1), "site_b": update(2, 2, 2, 2, 2)}
    before = CURRENT.vector.copy()
    for one in (aggregator, untouched):
        one.configure(1, CURRENT)
    with pytest.raises(AggregationError):
        aggregator.aggregate(1, CURRENT, checked(good | {"site_b": FAULTS[what][0]()}))
    np.testing.assert_array_equal(CURRENT.vector, before)
    after, expected = (
        one.aggregate(1, CURRENT, checked(good)).vector for one in (aggregator, untouched)
    )
    assert after.tobytes() == expected.tobytes()


def test_an_aggregate_that_overflows_is_refused():
    largest = float(np.finfo(np.float32).max)
    updates = {site: update(*[largest] * 5) for site in ("site_a", "site_b")}
    current = Weights(LAYOUT, np.full(5, -largest, np.float32))
    aggregator = Aggregator(settings("FedAvgM", arguments={"server_learning_rate": 2}), 2)
    aggregator.configure(1, current)
    with (
        pytest.raises(AggregationError, match="site_a, site_b is not finite"),
        np.errstate(all="ignore"),
    ):
        aggregator.aggregate(1, current, checked(updates, current=current))


@pytest.mark.parametrize("scale", [1e30, 1e-40], ids=["squares overflow", "subnormal"])
def test_finite_weights_of_any_size_are_taken(scale):
    result = aggregate({"site_a": update(*[scale] * 5), "site_b": update(*[scale] * 5)})
    np.testing.assert_allclose(result.vector, scale, rtol=1e-5)


def test_fedavg_is_the_mean_weighted_by_cases():
    current, updates = random_updates()
    aggregator = Aggregator(settings(), 3)
    aggregator.configure(1, current)
    found = aggregator.aggregate(1, current, checked(updates, current=current))
    expected = np.average(
        [u.weights.vector.astype(np.float64) for u in updates.values()],
        axis=0,
        weights=[u.n_cases for u in updates.values()],
    )
    np.testing.assert_allclose(found.vector, expected, rtol=1e-5, atol=1e-6)
    assert found.layout == current.layout


@pytest.mark.parametrize(
    "strategy", ["FedAvg", "FedProx", "FedAvgM", "FedAdam", "FedMedian", "FedTrimmedAvg", "Krum"]
)
def test_the_order_of_the_replies_changes_no_bit(strategy):
    arguments = {"proximal_mu": 0.1} if strategy == "FedProx" else {}
    current, updates = random_updates()
    results = []
    for order in (sorted(updates), sorted(updates, reverse=True)):
        aggregator = Aggregator(settings(strategy, arguments=arguments), 3)
        aggregator.configure(1, current)
        result = aggregator.aggregate(
            1, current, checked({site: updates[site] for site in order}, current=current)
        )
        results.append(result.vector.tobytes())
    assert results[0] == results[1]


def test_fedmedian_is_the_median():
    updates = {s: update(*[v] * 5) for s, v in (("site_a", 1), ("site_b", 2), ("site_c", 60))}
    np.testing.assert_array_equal(aggregate(updates, of=settings("FedMedian")).vector, 2)


def test_fedtrimmedavg_leaves_out_the_largest_and_the_smallest():
    values = {"site_a": -50, "site_b": 1, "site_c": 2, "site_d": 70}
    updates = {site: update(*[value] * 5) for site, value in values.items()}
    of = settings("FedTrimmedAvg", arguments={"beta": 0.25})
    np.testing.assert_array_equal(aggregate(updates, of=of).vector, 1.5)


def test_krum_takes_the_update_nearest_to_the_others():
    values = {"site_a": 1.0, "site_b": 1.1, "site_c": 1.25, "site_d": 90.0, "site_e": 80.0}
    updates = {site: update(*[value] * 5) for site, value in values.items()}
    of = settings("Krum", arguments={"num_malicious_nodes": 1})
    np.testing.assert_allclose(aggregate(updates, of=of).vector, 1.1)


def test_fedavgm_goes_the_sum_of_momentum_and_step():
    aggregator = Aggregator(
        settings("FedAvgM", arguments={"server_momentum": 0.5, "server_learning_rate": 1}), 1
    )
    zero, one = (Weights(LAYOUT, np.full(5, v, np.float32)) for v in (0, 1))
    aggregator.configure(1, zero)
    first = aggregator.aggregate(1, zero, checked({"site_a": Update(one, 5)}))
    aggregator.configure(2, first)
    second = aggregator.aggregate(2, first, checked({"site_a": Update(one, 5)}))
    np.testing.assert_array_equal(first.vector, 1)
    np.testing.assert_array_equal(second.vector, 1.5)


def test_fedadam_goes_the_published_step():
    current, updates = random_updates()
    aggregator = Aggregator(settings("FedAdam", arguments={"eta": 0.01, "tau": 0.001}), 3)
    aggregator.configure(1, current)
    found = aggregator.aggregate(1, current, checked(updates, current=current)).vector
    mean = aggregate_reference(updates)
    delta = mean - current.vector
    m, v = 0.1 * delta, 0.01 * delta**2
    rate = 0.01 * np.sqrt(1 - 0.99**2) / (1 - 0.9**2)
    np.testing.assert_allclose(found, current.vector + rate * m / (np.sqrt(v) + 0.001), rtol=1e-4)


def aggregate_reference(updates):
    total = sum(u.n_cases for u in updates.values())
    return sum(u.weights.vector.astype(float) * u.n_cases / total for u in updates.values())


@pytest.mark.parametrize(
    ("strategy", "arguments"),
    [
        ("FedAvg", {}),
        ("FedAdam", {"eta": 0.01}),
        ("FedYogi", {"eta": 0.01}),
        ("FedAdagrad", {"eta": 0.01}),
        ("FedAvgM", {"server_momentum": 0.9, "server_learning_rate": 0.5}),
    ],
)
def test_a_resumed_strategy_gives_the_bits_of_the_uninterrupted_one(strategy, arguments):
    of = settings(strategy, arguments=arguments)
    current, _ = random_updates()
    whole = several_rounds(Aggregator(of, 3), current, [1, 2, 3, 4])
    first = Aggregator(of, 3)
    half = several_rounds(first, current, [1, 2])
    second = Aggregator(of, 3)
    second.restore(first.state)
    assert several_rounds(second, half, [3, 4]).vector.tobytes() == whole.vector.tobytes()


def test_without_its_state_fedadam_would_go_elsewhere():
    of = settings("FedAdam", arguments={"eta": 0.01})
    current, _ = random_updates()
    whole = several_rounds(Aggregator(of, 3), current, [1, 2, 3])
    half = several_rounds(Aggregator(of, 3), current, [1, 2])
    assert (several_rounds(Aggregator(of, 3), half, [3]).vector != whole.vector).any()


def test_fedavg_has_nothing_to_remember():
    aggregator = Aggregator(settings(), 2)
    several_rounds(aggregator, random_updates()[0], [1])
    assert aggregator.state == {}


def test_fedprox_gives_the_sites_its_mu_and_others_give_none():
    prox = Aggregator(settings("FedProx", arguments={"proximal_mu": 0.01}), 2)
    assert prox.configure(1, CURRENT) == 0.01
    assert Aggregator(settings(), 2).configure(1, CURRENT) == 0.0


@pytest.mark.parametrize("name", ["FedAvrg", "fedavg", "", "Strategy", "Result", "FedXgbBagging"])
def test_an_unknown_strategy_is_refused_with_those_that_are_known(name):
    with pytest.raises(ConfigError, match=r"aggregation\.strategy") as refusal:
        build_strategy(settings(name), 2)
    for known in ("FedAvg", "FedProx", "FedAdam", "Krum"):
        assert known in str(refusal.value)


@pytest.mark.parametrize(
    ("strategy", "arguments", "named"),
    [
        ("FedAvg", {"proximal_mu": 0.1}, "proximal_mu"),
        ("FedProx", {"mu": 0.1}, "'mu'"),
        ("FedAvg", {"min_train_nodes": 1}, "min_train_nodes"),
        ("FedTrimmedAvg", {"beta": 0.6}, "beta"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(strategy, arguments, named):
    with pytest.raises(ConfigError, match=f"aggregation.arguments: {strategy}.*{named}"):
        build_strategy(settings(strategy, arguments=arguments), 2)


def test_a_whole_number_reaches_a_strategy_that_counts():
    strategy = build_strategy(settings("Krum", arguments={"num_malicious_nodes": 1.0}), 4)
    assert repr(strategy.num_malicious_nodes) == "1"


def test_integer_buffers_are_never_averaged_because_no_weights_hold_them():
    with pytest.raises(CodecError, match="float32"):
        Weights(Layout(("bn.num_batches_tracked",), ((1,),)), np.array([7]))
