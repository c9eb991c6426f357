"""In which terms a run asks: what an honest run fixes once may not be asked in two ways.

Sums of the same patients on two scales, between two sets of edges, or of rows that two models make,
differ by what lies between them, and that may be one patient. So a run keeps to the first: to one
scale of a feature and one pair of ends that it is clipped to, to one set of edges, to one filling
of blanks, to one making of the fusion layer's rows and one scale for each fold, to one set of
models. Counts of values at or below numbers are answered as often as the study's searches ask, and
no more: with as many as one likes, each patient's value can be searched for.

What was asked stands in the cache folder, a line for each term of a run, before it is answered.
Nothing is kept where `cohort.min_delta` is 1, for made-up patients.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from client.workbench import Workbench
from shared import searches
from shared.codec import content_hash
from shared.config import Study
from shared.errors import DifferenceError, StateError
from shared.files import write_atomically
from shared.models import Scale
from shared.searches import Search
from shared.stages import clinical_model, discretise, embed, evaluate, fuse
from shared.stages import select_features as select
from shared.stages.describe_cohort import COUNT_VARIABLES
from shared.stages.standardise import COUNT_FEATURES, STANDARDISE

HASH_LETTERS = 32
LINE = re.compile(rf"[0-9a-f]{{{HASH_LETTERS}}} .+")
RUN = re.compile(r"[0-9a-f]{1,64}")


@dataclass(frozen=True, slots=True)
class Term:
    """One way in which something is asked.

    Attributes:
        of: What is asked so, for instance a feature's scale.
        content: The hash of the way.
        most: In how many ways a run may ask.
    """

    of: str
    content: str
    most: int = 1


class Terms:
    """What each run asked of one site.

    Args:
        folder: In the site's cache.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, dict[str, set[str]]] = {}

    def check(self, run: str, asked: Iterable[Term]) -> None:
        """Go on only if the run asks in no more ways than it may.

        Raises:
            DifferenceError: If it asks in one more.
            StateError: If what it asked before cannot be read.
        """
        known = self._of(run)
        for term in asked:
            if len(known[term.of] | {term.content}) > term.most:
                times = "once" if term.most == 1 else f"in {term.most} ways"
                raise DifferenceError(
                    f"{term.of}: a run asks for it {times}, and this one did. What is told in two "
                    "ways tells, by the difference, of the few patients between them. A run that "
                    "goes on asks again as it did; talk to whoever runs the study."
                )

    def note(self, run: str, asked: Iterable[Term]) -> None:
        """Write down how the run asks; it may be answered when this returns."""
        known = self._of(run)
        new = [term for term in asked if term.content not in known[term.of]]
        for term in new:
            known[term.of].add(term.content)
        if new and run:
            lines = [f"{content} {of}\n" for of, ways in known.items() for content in sorted(ways)]
            write_atomically(self._file(run), "".join(lines).encode())

    def _of(self, run: str) -> dict[str, set[str]]:
        if run not in self._known:
            self._known[run] = self._read(run) if run else defaultdict(set)
        return self._known[run]

    def _read(self, run: str) -> dict[str, set[str]]:
        known: dict[str, set[str]] = defaultdict(set)
        file = self._file(run)
        try:
            lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        except (OSError, UnicodeDecodeError):
            lines = [""]
        for line in lines:
            if not LINE.fullmatch(line):
                raise StateError(
                    f"{file}: does not say how the run asked. Restore it from a backup; without "
                    "one begin a new run."
                )
            known[line[HASH_LETTERS + 1 :]].add(line[:HASH_LETTERS])
        return known

    def _file(self, run: str) -> Path:
        if not RUN.fullmatch(run):
            raise StateError("a run's name has another form")
        return self._folder / f"{run}.txt"


def terms_of(name: str, request: Any, bench: Workbench) -> tuple[Term, ...]:
    """In which terms a question is asked.

    Raises:
        DifferenceError: If it asks for more numbers at once than a search does.
    """
    found = ASKED.get(name)
    if found is None or bench.site.policy.cohort.min_delta <= 1:
        return ()
    return tuple(found(request, bench))


def hash_of(*arrays: np.ndarray) -> str:
    """What arrays hold, to the bit."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array, dtype=np.float64).tobytes())
        total.update(b"|")
    return total.hexdigest()[:HASH_LETTERS]


def _hash_of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LETTERS]


def _scale(scale: Scale, bench: Workbench) -> Iterator[Term]:
    widths = sorted(scale.extraction.bin_widths_hu.items())
    yield Term("the extraction", _hash_of_text(repr(widths)))
    own = scale.sites.get(bench.site.name)
    columns = [scale.mean, scale.sd, scale.low, scale.high]
    columns += [] if own is None else [own.mean, own.sd]
    for name, row in zip(scale.names, np.stack(columns, axis=1), strict=True):
        yield Term(f"the scale of {name}", hash_of(row))


def _scaled(request: Any, bench: Workbench) -> Iterator[Term]:
    yield from _scale(request.scale, bench)


def _calibrated(request: Any, bench: Workbench) -> Iterator[Term]:
    yield from _scale(request.model.scale, bench)


def _binned(request: select.BinsRequest, bench: Workbench) -> Iterator[Term]:
    yield from _scale(request.scale, bench)
    without = _without(request.held_out)
    for name, edges in zip(request.scale.names, request.edges, strict=False):
        yield Term(f"the edges of {name}{without}", hash_of(edges))


def _clipped(request: Any, _bench: Workbench) -> Iterator[Term]:
    if request.low is not None and request.high is not None and request.names is not None:
        for name, low, high in zip(request.names, request.low, request.high, strict=False):
            yield Term(f"the ends of {name}", hash_of(low, high))


def _filled(request: Any, _bench: Workbench) -> Iterator[Term]:
    yield Term("what blanks take", hash_of(request.means))


def _rows(request: embed.RowsRequest, _bench: Workbench) -> Iterator[Term]:
    yield Term("the fusion layer's rows", content_hash(request)[:HASH_LETTERS])


def _layers(request: fuse.LayersRequest, bench: Workbench) -> Iterator[Term]:
    yield from _rows(request.rows, bench)
    layers = request.layers
    for fold, mean, sd in zip(layers.fold.tolist(), layers.mean, layers.sd, strict=True):
        yield Term(f"the fusion layer's scale without fold {fold + 1}", hash_of(mean, sd))


def _embedded(request: embed.OutputsRequest, _bench: Workbench) -> Iterator[Term]:
    if request.sums:
        digest = content_hash(request.weights)[:HASH_LETTERS]
        yield Term(f"the embeddings of {request.network}", digest)


def _evaluated(request: Any, _bench: Workbench) -> Iterator[Term]:
    """The models; their thresholds follow from how they score, and are asked with later."""
    models = replace(request.bundle, thresholds={})
    yield Term("the models", content_hash(models)[:HASH_LETTERS])
    if request.bundle.thresholds:
        thresholds = sorted(request.bundle.thresholds.items())
        yield Term("the models' thresholds", _hash_of_text(repr(thresholds)))


Searched = Callable[[Study], Search]


def _counted(what: str, search: Searched, *, scaled: bool = False) -> "Asked":
    def asked(request: Any, bench: Workbench) -> Iterator[Term]:
        if scaled:
            yield from _scale(request.scale, bench)
        one = search(bench.study)
        if request.thresholds.ndim == 2 and request.thresholds.shape[1] > one.most_thresholds:
            raise DifferenceError(
                f"{what}: {request.thresholds.shape[1]} numbers at once were asked for, and the "
                f"study's search asks for at most {one.most_thresholds}. Talk to whoever runs the "
                "study."
            )
        names = getattr(request, "names", ())
        content = f"{names} {hash_of(request.thresholds)}"
        of = f"{what}{_without(getattr(request, 'held_out', None))}"
        yield Term(of, _hash_of_text(content), most=one.rounds)

    return asked


def _without(held_out: int | None) -> str:
    return "" if held_out is None else f" without fold {held_out + 1}"


Asked = Callable[[Any, Workbench], Iterator[Term]]
ASKED: dict[str, Asked] = {
    COUNT_VARIABLES.name: _counted("counts of variables", lambda _: searches.OF_VARIABLES),
    discretise.COUNT_RANGES.name: _counted("counts of ranges", lambda _: searches.OF_RANGES),
    STANDARDISE.name: _clipped,
    COUNT_FEATURES.name: _counted("counts of features", lambda _: searches.OF_CLIPPING),
    select.SCREEN.name: _scaled,
    select.COUNT_SCALED.name: _counted(
        "counts of scaled features",
        lambda study: searches.of_bins(study.selection.screen_bins),
        scaled=True,
    ),
    select.BIN_FEATURES.name: _binned,
    select.GRAM.name: _scaled,
    select.LOOK_ALIKE.name: _scaled,
    select.LOGISTIC_LASSO.name: _scaled,
    select.CALIBRATE.name: _calibrated,
    clinical_model.CLINICAL_STEP.name: _filled,
    clinical_model.CLINICAL_HATS.name: _filled,
    embed.EMBED_OUTPUTS.name: _embedded,
    embed.EMBED_ROWS.name: _rows,
    fuse.FUSION_MOMENTS.name: _rows,
    fuse.FUSION_STEPS.name: _layers,
    fuse.FUSION_LOSSES.name: _layers,
    fuse.FUSION_SCORES.name: _layers,
    evaluate.EVALUATE_SCORES.name: _evaluated,
    evaluate.EVALUATE_PLACEMENTS.name: _evaluated,
}
