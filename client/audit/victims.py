"""What the hospital knows of the patients whom it attacks."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from client.scoring import fusion_columns
from client.site import Cases
from client.stages.embed import cases_of, fusion_rows
from client.workbench import Workbench
from shared.checks import Floats, Ints
from shared.errors import AuditError
from shared.models import Extraction
from shared.stages.embed import RowsRequest

OTHER_LABEL = 1e12


@dataclass(frozen=True, slots=True, eq=False)
class Victims:
    """The patients of what was released, in an order of their own.

    Attributes:
        known: What the attacker knows of each: all radiomics features and clinical values (n, p).
        wanted: What it wants to know: the values that the models use (n, q), named.
        rows: Of the fusion layer as the hospital computes them (n, k).
        labels: (n,).
    """

    known: Floats
    names: tuple[str, ...]
    wanted: Floats
    rows: Floats
    labels: Ints


def victims_of(request: RowsRequest, bench: Workbench) -> Victims:
    """The patients that a question about fusion rows is of.

    Raises:
        TrifedError: If what is needed of them is not kept here any more.
    """
    cases = tuple(case for handle in cases_of(bench) for case in handle)
    handle = Cases(cases, "fusion")
    _, rows, labels = fusion_rows(request, bench)
    names, wanted = values_of(request, bench, handle)
    return Victims(known_of(request, bench, handle), names, wanted, rows, labels)


def known_of(request: RowsRequest, bench: Workbench, cases: Cases) -> Floats:
    """All that the hospital's tables say of some patients, as numbers (n, p)."""
    extraction: Extraction = request.parts[0].radiomics.scale.extraction
    _, features = bench.site.features(cases, extraction)
    return np.hstack([features, bench.site.clinical(cases, request.clinical.predictors)])


def values_of(
    request: RowsRequest, bench: Workbench, cases: Cases
) -> tuple[tuple[str, ...], Floats]:
    """Names and values (n, q) of the features and predictors that the models use."""
    scale = request.parts[0].radiomics.scale
    names, features = bench.site.features(cases, scale.extraction)
    place = [names.index(name) for name in scale.names]
    predictors = request.clinical.predictors
    values = np.hstack([features[:, place], bench.site.clinical(cases, predictors)])
    return (*scale.names, *predictors), values


def outsiders(request: RowsRequest, bench: Workbench) -> tuple[Floats, Floats]:
    """What is known, and the rows, of patients of the test split, who are in nothing released.

    Raises:
        AuditError: If their rows cannot be computed: the layer was fitted out of fold.
        TrifedError: If what is needed of them is not kept here any more.
    """
    if len(request.parts) > 1:
        raise AuditError("patients of the test split have no out-of-fold scores to compare with")
    cases, parts = bench.site.internal_test, request.parts[0]
    _, rows = fusion_columns(
        bench,
        cases,
        projections=parts.projections,
        network_hashes=parts.network_hashes,
        radiomics=parts.radiomics,
        clinical=request.clinical,
    )
    return known_of(request, bench, cases), rows


def complete(rows: Floats) -> Floats:
    """Rows with the column's mean where a patient has no value."""
    mean = np.nanmean(rows, axis=0)
    return np.asarray(np.where(np.isfinite(rows), rows, mean))


def lined_up(released: Floats, labels: Ints, victims: Victims) -> tuple[Floats, Ints]:
    """The released rows and labels in the order of the victims whose they are.

    Rows leave in another order, and may be rounded or noised: they are given to the victims such
    that all together are nearest, which is right where rows are nearly what they were.

    Raises:
        AuditError: If they are not of as many patients, or of other columns.
    """
    if released.shape != victims.rows.shape:
        raise AuditError(
            f"the hospital has {victims.rows.shape[0]} such patients with {victims.rows.shape[1]} "
            f"values now, and {released.shape[0]} rows of {released.shape[1]} were released"
        )
    mine, theirs = complete(victims.rows), complete(released)
    sd = np.maximum(mine.std(axis=0), 1e-9)
    far = (((mine[:, None, :] - theirs[None, :, :]) / sd) ** 2).sum(axis=2)
    far += OTHER_LABEL * (victims.labels[:, None] != labels[None, :])
    order = linear_sum_assignment(far)[1]
    return theirs[order], labels[order]
