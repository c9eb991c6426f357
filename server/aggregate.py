"""Flower's strategy behind a guard: nothing that could spoil the model is ever aggregated.

The guard looks at every reply before the strategy sees one, and at the aggregate afterwards. What
it refuses, it refuses whole, naming the sites; the model of the round before stands.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.app.exception import AppExitException
from flwr.serverapp import Grid
from flwr.serverapp import strategy as flower_strategies
from flwr.serverapp.strategy import FedAvg
from flwr.supercore.task_identity import TaskIdentity

from shared.config import Aggregation
from shared.errors import AggregationError, ConfigError
from shared.networks import Weights

SLICE = 2**20
"""Values that a strategy works on at once: no copy of all is made on the way."""
logging.getLogger("flwr").setLevel(logging.ERROR)
UNUSABLE = frozenset({"FedXgbBagging", "FedXgbCyclic", "QFedAvg"})
"""They want trees, or each site's loss under the new weights, which no reply holds."""


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """One site's reply to a round: its weights and on how many cases they were trained."""

    weights: Weights
    n_cases: int


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """An update that the guard has looked at: what is wrong with it, None if nothing is.

    `read` gives the site's weights as one float32 vector, which may lie on a disk; it is called for
    every slice that a strategy works on, so that not every site's need be in memory at once.
    """

    n_cases: int
    fault: str | None
    read: Callable[[], np.ndarray]


class Aggregator:
    """One network's strategy over its rounds; `state` is what the strategy must remember."""

    def __init__(self, settings: Aggregation, n_sites: int) -> None:
        self._settings = settings
        _identify_process()
        self._strategy = build_strategy(settings, n_sites)
        self._n_sites = n_sites

    def configure(self, round_number: int, weights: Weights) -> float:
        """Begin a round from the global weights; returns FedProx's mu, 0 for other strategies."""
        arrays = _record_of(weights.vector.size, lambda: _read_only(weights.vector))
        if hasattr(self._strategy, "current_arrays"):
            self._strategy.current_arrays = None  # what it aggregated may have been rounded since
        config = ConfigRecord()
        messages = list(
            self._strategy.configure_train(
                round_number, arrays, config, cast(Grid, _Roster(self._n_sites))
            )
        )
        sent = messages[0].content["config"] if messages else config
        mu = sent.get("proximal-mu", 0.0) if isinstance(sent, ConfigRecord) else 0.0
        return float(mu) if isinstance(mu, int | float) else 0.0

    def aggregate(
        self, round_number: int, current: Weights, updates: Mapping[str, Checked]
    ) -> Weights:
        """The new global weights from the sites' updates, taken in the order of their names.

        Strategies that make a weighted mean (FedAvg, FedProx, FedAvgM, FedAdam, FedAdagrad,
        FedYogi) read one update at a time; medians and Krum's kin hold all of them.

        Raises:
            AggregationError: If any reply or the aggregate cannot be trusted; names the sites.
        """
        check_updates(self._settings, updates)
        size = current.vector.size
        replies = [
            _as_message(node, size, updates[site])
            for node, site in enumerate(sorted(updates), start=1)
        ]
        try:
            arrays, _ = self._strategy.aggregate_train(round_number, replies)
        except AppExitException as error:
            raise AggregationError(
                f"round {round_number}: {self._settings.strategy} refuses: {error}"
            ) from None
        if arrays is None or set(arrays) != set(_slices(size)):
            raise AggregationError(f"round {round_number}: {self._settings.strategy} gave nothing")
        vector = _vector_of(arrays, size)
        if vector.size != size or not _finite(vector):
            raise AggregationError(
                f"round {round_number}: the aggregate of {', '.join(sorted(updates))} is not finite"
            )
        return Weights(current.layout, vector)

    @property
    def state(self) -> dict[str, np.ndarray]:
        """Arrays that the strategy carries from round to round (moments of FedAdam, say)."""
        found: dict[str, np.ndarray] = {}
        for name, value in vars(self._strategy).items():
            if isinstance(value, dict) and name != "current_arrays":
                found |= {f"{name}/{k}": v for k, v in value.items() if isinstance(v, np.ndarray)}
            elif isinstance(value, list):
                found |= {f"{name}/{i}": v for i, v in enumerate(value)}
        return found

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up the `state` of an interrupted run."""
        grouped: dict[str, dict[str, np.ndarray]] = {}
        for path, array in state.items():
            name, _, key = path.partition("/")
            grouped.setdefault(name, {})[key] = np.array(array)
        for name, arrays in grouped.items():
            is_list = set(arrays) == {str(i) for i in range(len(arrays))}
            value: Any = [arrays[str(i)] for i in range(len(arrays))] if is_list else arrays
            setattr(self._strategy, name, value)


def build_strategy(settings: Aggregation, n_sites: int) -> FedAvg:
    """Flower's strategy of the study file.

    Raises:
        ConfigError: If Flower has none of that name, or it does not take these arguments.
    """
    names = sorted(
        name
        for name in flower_strategies.__all__
        if name not in UNUSABLE and _is_fedavg(getattr(flower_strategies, name))
    )
    if settings.strategy not in names:
        raise ConfigError(
            f"aggregation.strategy: {settings.strategy!r} is not one of {', '.join(names)}."
        )
    counts = {"min_train_nodes": n_sites, "min_available_nodes": n_sites}
    arguments: dict[str, Any] = {name: _number(v) for name, v in settings.arguments.items()}
    try:
        built: FedAvg = getattr(flower_strategies, settings.strategy)(**counts, **arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"aggregation.arguments: {settings.strategy} says {error}.") from None
    return built


def check_updates(settings: Aggregation, updates: Mapping[str, Checked]) -> None:
    """Refuse the round unless every update is sound and no site dominates.

    Raises:
        AggregationError: Naming every site at fault and what is wrong with its reply.
    """
    if not updates:
        raise AggregationError(
            "no site sent an update; at least one must have images of all phases of the network"
        )
    faults = {site: fault for site in sorted(updates) if (fault := updates[site].fault)}
    if faults:
        listed = "; ".join(f"{site}: {fault}" for site, fault in faults.items())
        raise AggregationError(
            f"the round is refused, the model of the round before stands. {listed}"
        )
    total = sum(update.n_cases for update in updates.values())
    if len(updates) > 1:
        for site in sorted(updates):
            share = updates[site].n_cases / total
            if share > settings.max_site_share:
                raise AggregationError(
                    f"the round is refused: {site} would carry {share:.0%} of the weight; "
                    f"aggregation.max_site_share is {settings.max_site_share:.0%}"
                )


def fault_of(settings: Aggregation, current: Weights, update: Update) -> str | None:
    """What is wrong with one update, in words; None if nothing is."""
    count = update.n_cases
    if isinstance(count, bool) or not isinstance(count, int):
        return "its count of cases is not a whole number"
    if not 0 < count <= settings.max_cases_per_site:
        return f"its count of cases, {count}, is impossible"
    if update.weights.layout != current.layout:
        return "its weights have other names or shapes than the study's network"
    if update.weights.vector.dtype != np.float32:
        return f"its weights are {update.weights.vector.dtype}, not float32"
    if update.weights.vector.shape != current.vector.shape:
        return "its weights are of the wrong size"
    if not _finite(update.weights.vector):
        return "its weights hold NaN or infinity"
    return None


def _finite(vector: np.ndarray) -> bool:
    """Whether all is finite: a sum that is finite shows it in one pass without a copy."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(np.dot(vector, vector))
    return bool(np.isfinite(total)) or bool(np.isfinite(vector).all())


def _number(value: float) -> float | int:
    return int(value) if value == int(value) and abs(value) >= 1 else value


def _is_fedavg(candidate: Any) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, FedAvg)


def _identify_process() -> None:
    """Flower's messages want to know their run; outside of a Flower process there is none."""
    try:
        _ = TaskIdentity.run_id
    except RuntimeError:
        TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1


def _as_message(node: int, size: int, update: Checked) -> Message:
    content = RecordDict(
        {
            "arrays": _record_of(size, update.read),
            "metrics": MetricRecord({"num-examples": update.n_cases}),
        }
    )
    return Message(content=content, message_type="train", dst_node_id=node)


class _Roster:
    """The little of Flower's grid that a strategy asks for when a round begins: who is there."""

    def __init__(self, n_sites: int) -> None:
        self._n_sites = n_sites

    def get_node_ids(self) -> list[int]:
        return list(range(1, self._n_sites + 1))


def _slices(size: int) -> dict[str, slice]:
    """The slices of a vector by the names that a strategy knows them by."""
    starts = range(0, size, SLICE)
    return {f"weights-{n:05d}": slice(start, start + SLICE) for n, start in enumerate(starts)}


def _record_of(size: int, read: Callable[[], np.ndarray]) -> ArrayRecord:
    """Weights for a strategy; the constructor of Flower's record would pack them."""
    record = ArrayRecord()
    for name, part in _slices(size).items():
        record[name] = _ReadWhenWanted(read, part, size)
    return record


def _vector_of(record: ArrayRecord, size: int) -> np.ndarray:
    """The vector that a strategy's slices make, float32."""
    parts = [record[name].numpy().ravel() for name in _slices(size)]
    return np.concatenate(parts, dtype=np.float32, casting="same_kind")


def _read_only(values: np.ndarray) -> np.ndarray:
    view = values.view()
    view.flags.writeable = False
    return view


class _ReadWhenWanted(Array):
    """A slice that a strategy reads where it lies; Flower's own is bytes, packed and unpacked.

    It never travels.
    """

    def __init__(self, read: Callable[[], np.ndarray], part: slice, size: int) -> None:
        n = min(part.stop, size) - part.start
        super().__init__("float32", (n,), "numpy.ndarray", b"")
        self._read, self._part = read, part

    def numpy(self) -> np.ndarray:
        """The values."""
        return self._read()[self._part]
