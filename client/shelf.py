"""The shelf: what was computed of a site's cases and is kept, by case and product."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.cache import Cache
from client.cohort.cases import Cases
from client.cohort.copies import copies
from client.cohort.manifest import Case
from client.objections.kept import Kept
from client.prepare import Progress, prepare, task_for
from client.products import Product
from shared.config import Study
from shared.errors import ImageError


class Shelf:
    """The products of a site's cases, in its cache; they are computed when they are asked for."""

    def __init__(
        self, study: Study, root: Path, cache: Cache, *, threads: int, progress: Progress
    ) -> None:
        self.cache = cache
        self._kept = Kept(cache.folder)
        self._study = study
        self._root = root
        self._threads = threads
        self._progress = progress
        self._keys: dict[tuple[tuple[str, str, str], str], str] = {}

    def fill(self, cases: Sequence[Case], products: Sequence[Product]) -> dict[str, str]:
        """Compute products of cases unless they are kept; why patients cannot be used, by id."""
        bad: dict[str, str] = {}
        tasks = []
        for case in cases:
            try:
                task = task_for(case, self._study, self._root, self.cache, products)
            except ImageError as error:
                bad[case.patient_id] = str(error)
                continue
            self._kept.note(case.patient_id, {key for _, key in task.products})
            tasks.append(task)
        bad |= prepare(tasks, threads=self._threads, progress=self._progress)
        for task in tasks:
            for product, key in task.products:
                self._keys[product.depends_on, task.case.patient_id] = key
        return {case.patient_id: bad[case.patient_id] for case in cases if case.patient_id in bad}

    def copies(self, cases: Sequence[Case], product: Product) -> dict[str, str]:
        """Why patients are copies of others: a product of theirs is the same in every bit."""
        kept = self.arrays(cases, product)
        there = [case for case in cases if case.patient_id in kept]
        return copies(there, kept)

    def rows(self, cases: Cases, product: Product, width: int) -> NDArray[np.float64]:
        """A product that is one row for each case, (n, width); NaN where a case has none."""
        rows = np.full((len(cases), width), np.nan)
        kept = self.arrays(cases.cases, product)
        for row, case in enumerate(cases):
            if case.patient_id in kept:
                rows[row] = kept[case.patient_id]
        return rows

    def arrays(self, cases: Sequence[Case], product: Product) -> dict[str, NDArray[Any]]:
        """A product of those cases that it was filled in for, by the patient's id.

        Raises:
            ImageError: If one was lost from the disk since.
        """
        what = product.depends_on
        keys = {case.patient_id: self._keys.get((what, case.patient_id)) for case in cases}
        return {patient: self._read(key) for patient, key in keys.items() if key is not None}

    def _read(self, key: str) -> NDArray[Any]:
        array = self.cache.get(key)
        if array is None:
            raise ImageError(
                f"an entry of the cache {self.cache.folder} was lost during the run. Start again; "
                "it will be computed anew."
            )
        return array
