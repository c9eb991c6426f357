"""Cases to cached radiomics rows and tensors, in worker processes, each image opened once.

Worker processes import neither torch nor MONAI, and compute on one thread each.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from client import engine, integrity, preprocess, radiomics, tensors, volumes
from client.cache import Cache, cache_key, code_version
from client.manifest import Case
from shared.branches import Network
from shared.config import Study, digest, networks
from shared.errors import ImageError

FEW = 4
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Task:
    """One case to prepare; a key is the name under which the cache keeps a result."""

    case: Case
    study: Study
    cache: Cache
    row_key: str | None
    tensor_keys: tuple[str, ...]


def task_for(case: Case, study: Study, root: Path, cache: Cache) -> Task:
    """A case with the cache's keys of its radiomics row and of each network's tensor.

    Raises:
        ImageError: If one of its files is gone.
    """
    files = {str(phase): (case.images[phase], case.masks[phase]) for phase in case.images}
    parts = [(_row_settings(study), "radiomics", _row_code())]
    parts += [(_tensor_settings(study, n), "tensor", _tensor_code()) for n in networks(study)]
    try:
        keys = [
            cache_key(settings=settings, kind=kind, code=code, root=root, files=files)
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
    for task, reason in _run(waiting, threads):
        n_done += 1
        if reason is not None:
            bad[task.case.patient_id] = reason
        progress("radiomics", n_done, len(tasks))
    return bad


def check_images(
    cases: Sequence[Case], study: Study, *, threads: int, progress: Progress
) -> dict[str, str]:
    """Open every image and mask and compute nothing; the reasons of the unusable patients."""
    tasks = [Task(case, study, Cache(Path()), None, ()) for case in cases]
    bad: dict[str, str] = {}
    for n_done, (task, reason) in enumerate(_run(tasks, threads), start=1):
        if reason is not None:
            bad[task.case.patient_id] = reason
        progress("images", n_done, len(tasks))
    return bad


def _is_cached(task: Task) -> bool:
    wanted = zip(networks(task.study), task.tensor_keys, strict=True)
    keys = [key for network, key in wanted if has_phases(task.case, network)]
    return all(task.cache.has(key) for key in (task.row_key, *keys) if key is not None)


def has_phases(case: Case, network: Network) -> bool:
    """Whether the case has every phase that the network looks at."""
    return all(phase in case.images for phase in network.phases)


def _run(tasks: Sequence[Task], threads: int) -> Iterator[tuple[Task, str | None]]:
    """Each task with the reason why its case cannot be used, in the order they finish."""
    if threads == 1 or len(tasks) < FEW:
        for task in tasks:
            with _one_thread():
                reason = _work(task)
            yield task, reason
        return
    context = multiprocessing.get_context("spawn")
    workers = min(threads, len(tasks))
    with (
        _single_threaded_children(),
        ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool,
    ):
        waiting = {pool.submit(_work, task): task for task in tasks}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BrokenProcessPool:
            raise ImageError(
                "a process that prepares images died, most likely for want of memory. Set "
                "device.threads: 1 in site.yaml and start again; finished cases are kept."
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _work(task: Task) -> str | None:
    """Prepare one case into the cache; the reason where it cannot be used."""
    case, study = task.case, task.study
    least = study.cohort.min_roi_voxels
    try:
        opened = {
            phase: volumes.read_case(case, phase, min_roi_voxels=least) for phase in case.images
        }
        if task.row_key is not None and not task.cache.has(task.row_key):
            row = radiomics.extract(case, opened, phases=study.phases, settings=study.radiomics)
            task.cache.put(task.row_key, np.array(list(row.values()), dtype=np.float64))
    except ImageError as error:
        return str(error)
    except (RuntimeError, ValueError, ArithmeticError, OSError, MemoryError) as error:
        return (
            f"{case.patient_id}: cannot be prepared ({type(error).__name__}: {error}). Export "
            "the patient's images again, or take the patient out of the manifest."
        )
    for network, key in zip(networks(study), task.tensor_keys, strict=False):
        tensor = tensors.network_input(opened, network, study.preprocess.window_hu)
        if tensor is not None and not task.cache.has(key):
            task.cache.put(key, tensor)
    return None


def _start_worker() -> None:
    volumes.use_one_thread()
    threadpool_limits(limits=1)


@contextmanager
def _one_thread() -> Iterator[None]:
    volumes.use_one_thread()
    with threadpool_limits(limits=1):
        yield


@contextmanager
def _single_threaded_children() -> Iterator[None]:
    """Children read these before they load their libraries; ours are loaded already."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


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
    code = code_version(integrity, volumes, preprocess, engine, radiomics)
    return f"{code} pyradiomics {engine.engine_version()}"


@cache
def _tensor_code() -> str:
    return code_version(integrity, volumes, preprocess, tensors)
