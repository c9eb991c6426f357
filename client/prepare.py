"""Cases to cached radiomics rows and tensors, in worker processes, each image opened once.

Worker processes import neither torch nor MONAI, and compute on one thread each.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from threadpoolctl import threadpool_limits

from client.cache import Cache, cache_key
from client.check import measures
from client.check.measures import Measures
from client.check.second_masks import second_findings
from client.cohort.manifest import Case
from client.images import volumes
from client.products import Product
from client.workers import Limits, Lost, run_apart
from shared.config import Study, digest
from shared.errors import ImageError

FEW = 4
PATIENT_LIMIT_S = 300.0
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Task:
    """One case to prepare: its products, each with the name under which the cache keeps it."""

    case: Case
    study: Study
    cache: Cache
    products: tuple[tuple[Product, str], ...]
    measure: bool = False

    @property
    def missing(self) -> tuple[tuple[Product, str], ...]:
        """What the cache lacks."""
        return tuple(entry for entry in self.products if not self.cache.has(entry[1]))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one case: why it cannot be used, or what was measured where that was asked.

    `warnings` are what the check found in passing.
    """

    problem: str | None
    measures: Measures = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def task_for(
    case: Case, study: Study, root: Path, cache: Cache, products: Sequence[Product]
) -> Task:
    """A case with the cache's keys of those products that it has the phases for.

    Raises:
        ImageError: If one of its files is gone.
    """
    fitting = [product for product in products if product.is_for(case)]
    return Task(case, study, cache, tuple((p, key_of(case, p, root)) for p in fitting))


def key_of(case: Case, product: Product, root: Path) -> str:
    """The name under which the cache keeps a product of a case.

    Raises:
        ImageError: If one of the case's files is gone.
    """
    settings, kind, code = product.depends_on
    sources = product.sources(case)
    words = settings + digest(sources.words)
    try:
        return cache_key(settings=words, kind=kind, code=code, root=root, files=sources.files)
    except OSError as error:
        raise ImageError(
            f"{case.patient_id}: {error.filename}: cannot be opened ({error.strerror}). "
            "Put the file back, or take the patient out of the manifest."
        ) from None


def prepare(tasks: Sequence[Task], *, threads: int, progress: Progress) -> dict[str, str]:
    """Compute what the cache lacks; the reasons of the patients that cannot be used.

    A patient that cannot be used, or whose process dies, stops no other.

    Raises:
        InstallError: If PyRadiomics is not installed.
    """
    waiting = [task for task in tasks if task.missing]
    bad: dict[str, str] = {}
    n_done = len(tasks) - len(waiting)
    if waiting:
        progress("images", n_done, len(tasks))
    for task, outcome in _run(waiting, threads):
        n_done += 1
        if outcome.problem is not None:
            bad[task.case.patient_id] = outcome.problem
        progress("images", n_done, len(tasks))
    return bad


def check_images(
    cases: Sequence[Case],
    study: Study,
    *,
    threads: int,
    progress: Progress,
    isolated: bool = True,
    limits: Limits | None = None,
) -> dict[str, Outcome]:
    """Open and measure every image and mask and compute nothing else; the outcomes by patient.

    Args:
        isolated: Read in processes of their own, so that a file that hangs or kills its reader
            is one patient's problem; otherwise in this one.
        limits: Of the time and memory for one patient.
    """
    tasks = [Task(case, study, Cache(Path()), (), measure=True) for case in cases]
    limits = limits or Limits(seconds=PATIENT_LIMIT_S)
    workers = min(threads, len(tasks))
    results: Iterable[tuple[Task, Outcome | Lost]] = ((task, _look(task)) for task in tasks)
    if isolated:
        results = run_apart(_look, tasks, n_workers=workers, limits=limits, start=_start_worker)
    found: dict[str, Outcome] = {}
    for n_done, (task, result) in enumerate(results, start=1):
        if isinstance(result, Lost):
            result = Outcome(_lost(task.case, result, limits))
        found[task.case.patient_id] = result
        progress("images", n_done, len(tasks))
    return found


def _lost(case: Case, lost: Lost, limits: Limits) -> str:
    files = dict.fromkeys(path.name for path in (*case.images.values(), *case.masks.values()))
    listed = ", ".join(files)
    if lost.why == "time":
        return (
            f"{case.patient_id}: reading took longer than {limits.seconds:g} s and was ended "
            f"({listed}). Export the patient's images again, or take the patient out."
        )
    return (
        f"{case.patient_id}: the process that read it died, twice ({listed}): a damaged file, or "
        "too little memory for this patient. Export the images again, or close other programs."
    )


def _run(tasks: Sequence[Task], threads: int) -> Iterator[tuple[Task, Outcome]]:
    """Each task with its outcome, in the order they finish."""
    if threads == 1 or len(tasks) < FEW:
        for task in tasks:
            with _one_thread():
                outcome = _work(task)
            yield task, outcome
        return
    workers = min(threads, len(tasks))
    results = run_apart(_work, tasks, n_workers=workers, limits=Limits(), start=_start_worker)
    for task, result in results:
        if isinstance(result, Lost):
            result = Outcome(
                f"{task.case.patient_id}: the process that prepared this patient's images died, "
                "twice, most likely for want of memory. Set device.threads: 1 in site.yaml and "
                "start again; finished patients are kept."
            )
        yield task, result


def _look(task: Task) -> Outcome:
    """Prepare one case for the check, in which no file may stop the others."""
    try:
        with _one_thread():
            return _work(task)
    except Exception as error:
        return Outcome(
            f"{task.case.patient_id}: cannot be read ({type(error).__name__}). Export the "
            "patient's images again, or take the patient out of the manifest."
        )


def _work(task: Task) -> Outcome:
    """Compute what the cache lacks of one case, and measure its images where that is asked."""
    case, least = task.case, task.study.cohort.min_roi_voxels
    try:
        opens = task.measure or any(product.opens for product, _ in task.missing)
        opened = {
            phase: volumes.read_case(case, phase, min_roi_voxels=least)
            for phase in (case.images if opens else ())
        }
        for product, key in task.missing:
            task.cache.put(key, product.compute(case, opened))
        if not task.measure:
            return Outcome(None)
        warnings = second_findings(case, opened, task.study)
        return Outcome(None, measures.measure(opened), warnings)
    except ImageError as error:
        return Outcome(str(error))
    except (RuntimeError, ValueError, ArithmeticError, OSError, MemoryError) as error:
        return Outcome(
            f"{case.patient_id}: cannot be prepared ({type(error).__name__}: {error}). Export "
            "the patient's images again, or take the patient out of the manifest."
        )


def _start_worker() -> None:
    volumes.use_one_thread()
    threadpool_limits(limits=1)


@contextmanager
def _one_thread() -> Iterator[None]:
    volumes.use_one_thread()
    with threadpool_limits(limits=1):
        yield
