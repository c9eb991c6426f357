"""Cases to cached radiomics rows and tensors, in worker processes, each image opened once.

Worker processes import neither torch nor MONAI, and compute on one thread each.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from client import (
    cooccurrence,
    dicom_files,
    dicom_masks,
    dicom_series,
    engine,
    filters,
    first_order,
    formats,
    integrity,
    measures,
    plain,
    preprocess,
    radiomics,
    tensors,
    volumes,
)
from client.cache import Cache, cache_key, code_version
from client.manifest import Case
from client.measures import Measures
from client.workers import Limits, Lost, run_apart
from shared.branches import Network
from shared.config import Study, digest, networks
from shared.errors import ImageError

EXTRACTING = (preprocess, filters, first_order, cooccurrence, engine, plain, radiomics)
READING = (integrity, formats, dicom_files, dicom_series, dicom_masks, volumes)
FEW = 4
PATIENT_LIMIT_S = 300.0
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Task:
    """One case to prepare; a key is the name under which the cache keeps a result."""

    case: Case
    study: Study
    cache: Cache
    row_key: str | None
    tensor_keys: tuple[str, ...]
    measure: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one case: why it cannot be used, or what was measured where that was asked."""

    problem: str | None
    measures: Measures = field(default_factory=dict)


def task_for(case: Case, study: Study, root: Path, cache: Cache) -> Task:
    """A case with the cache's keys of its radiomics row and of each network's tensor.

    Raises:
        ImageError: If one of its files is gone.
    """
    files = {str(phase): (case.images[phase], case.masks[phase]) for phase in case.images}
    parts = [(_row_settings(study), "radiomics", _row_code())]
    parts += [(_tensor_settings(study, n), "tensor", _tensor_code()) for n in networks(study)]
    mask = digest({"roi": case.roi, "resample_mask": case.resample_mask})
    try:
        keys = [
            cache_key(settings=settings + mask, kind=kind, code=code, root=root, files=files)
            for settings, kind, code in parts
        ]
    except OSError as error:
        raise ImageError(
            f"{case.patient_id}: {error.filename}: cannot be opened ({error.strerror}). "
            "Put the file back, or take the patient out of the manifest."
        ) from None
    return Task(case, study, cache, keys[0], tuple(keys[1:]))


def prepare(tasks: Sequence[Task], *, threads: int, progress: Progress) -> dict[str, str]:
    """Compute what the cache lacks; the reasons of the patients that cannot be used.

    Raises:
        ImageError: If a worker process dies.
        InstallError: If PyRadiomics is not installed.
    """
    waiting = [task for task in tasks if not _is_cached(task)]
    bad: dict[str, str] = {}
    n_done = len(tasks) - len(waiting)
    if waiting:
        progress("radiomics", n_done, len(tasks))
    for task, outcome in _run(waiting, threads):
        n_done += 1
        if outcome.problem is not None:
            bad[task.case.patient_id] = outcome.problem
        progress("radiomics", n_done, len(tasks))
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
    tasks = [Task(case, study, Cache(Path()), None, (), measure=True) for case in cases]
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


def _is_cached(task: Task) -> bool:
    wanted = zip(networks(task.study), task.tensor_keys, strict=True)
    keys = [key for network, key in wanted if has_phases(task.case, network)]
    return all(task.cache.has(key) for key in (task.row_key, *keys) if key is not None)


def has_phases(case: Case, network: Network) -> bool:
    """Whether the case has every phase that the network looks at."""
    return all(phase in case.images for phase in network.phases)


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
            raise ImageError(
                f"{task.case.patient_id}: the process that prepared this patient's images died, "
                "most likely for want of memory. Set device.threads: 1 in site.yaml and start "
                "again; finished cases are kept."
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
    """Prepare one case into the cache, and measure its images where the task asks for it."""
    case, study = task.case, task.study
    least = study.cohort.min_roi_voxels
    try:
        opened = {
            phase: volumes.read_case(case, phase, min_roi_voxels=least) for phase in case.images
        }
        if task.row_key is not None and not task.cache.has(task.row_key):
            row = radiomics.extract(case, opened, phases=study.phases, settings=study.radiomics)
            task.cache.put(task.row_key, np.array(list(row.values()), dtype=np.float64))
        found = measures.measure(opened) if task.measure else {}
    except ImageError as error:
        return Outcome(str(error))
    except (RuntimeError, ValueError, ArithmeticError, OSError, MemoryError) as error:
        return Outcome(
            f"{case.patient_id}: cannot be prepared ({type(error).__name__}: {error}). Export "
            "the patient's images again, or take the patient out of the manifest."
        )
    for network, key in zip(networks(study), task.tensor_keys, strict=False):
        tensor = tensors.network_input(opened, network, study.preprocess.window_hu)
        if tensor is not None and not task.cache.has(key):
            task.cache.put(key, tensor)
    return Outcome(None, found)


def _start_worker() -> None:
    volumes.use_one_thread()
    threadpool_limits(limits=1)


@contextmanager
def _one_thread() -> Iterator[None]:
    volumes.use_one_thread()
    with threadpool_limits(limits=1):
        yield


def _row_settings(study: Study) -> str:
    return digest(
        {
            "radiomics": study.radiomics.model_dump(mode="json"),
            "phases": study.phases,
            "min_roi_voxels": study.cohort.min_roi_voxels,
        }
    )


def _tensor_settings(study: Study, network: Network) -> str:
    geometry = network.branch.model_dump(
        mode="json", exclude={"name", "network", "training", "phases"}
    )
    return digest(
        {
            "branch": geometry,
            "phases": network.phases,
            "window_hu": study.preprocess.window_hu,
            "min_roi_voxels": study.cohort.min_roi_voxels,
        }
    )


@cache
def _row_code() -> str:
    code = code_version(*READING, *EXTRACTING)
    return f"{code} pyradiomics {engine.engine_version()}"


@cache
def _tensor_code() -> str:
    return code_version(*READING, preprocess, tensors)
