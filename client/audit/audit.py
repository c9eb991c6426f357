"""The audit: which of the things that a run released are there, and the attacks on each."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from client.audit.attacks import LEAST_PATIENTS, link, member_by_row, told_apart
from client.audit.attempts import NO_REQUEST, attempt, chance_of, failed, values_told
from client.audit.findings import Finding, linked, not_measured, told
from client.audit.noised import on_noised_rows, on_noised_sums
from client.audit.released import Kept, Released, read_released
from client.audit.sums import on_sums
from client.audit.victims import lined_up, outsiders, victims_of
from client.embeddings import kept_outputs
from client.site import open_site
from client.workbench import Workbench
from shared.checks import Floats, Ints
from shared.codec import pack
from shared.config import digest, load_study
from shared.errors import AuditError, TrifedError
from shared.fusion_sums import log_losses
from shared.stages.embed import EMBED_ROWS
from shared.stages.secure_sums import PREFIX
from shared.stages.train_branches import TRAIN_BRANCH

ROWS, WEIGHTS = "rows of patients", "weights of networks"
HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found of one run.

    Attributes:
        exchange: What the study fits its fusion layer on.
        n_released: Answers that left, by the ledger.
        n_kept: Of these, what a copy is kept of.
    """

    site: str
    run: str
    study: str
    study_hash: str
    exchange: str
    n_released: int
    n_kept: int
    findings: tuple[Finding, ...]


def audit(released: Released, bench: Workbench) -> Audit:
    """Attack all that was released of single patients, and the sums and weights over them."""
    findings: list[Finding] = []
    for attack in (on_rows, on_noised_rows, on_sums, on_noised_sums, on_weights):
        findings += attack(released, bench)
    return Audit(
        site=bench.site.name,
        run=released.run,
        study=bench.study.title,
        study_hash=released.study,
        exchange=bench.study.fusion.exchange,
        n_released=len(released.rows),
        n_kept=len(released.kept),
        findings=tuple(findings),
    )


def on_rows(released: Released, bench: Workbench) -> list[Finding]:
    """Attacks on rows of single patients, where they left."""
    answers = released.of(EMBED_ROWS.name)
    if not answers:
        return []
    last = answers[-1]
    if last.request is None:
        return failed(ROWS, NO_REQUEST)
    try:
        victims = victims_of(last.request, bench)
        rows, labels = lined_up(last.reply.rows, last.reply.labels, victims)
    except TrifedError as error:
        return failed(ROWS, str(error))
    n = len(rows)
    if n < LEAST_PATIENTS:
        return failed(ROWS, f"{n} patients are too few to learn from half of them")
    same = len(np.unique(np.column_stack([rows, labels]), axis=0))

    def linkage() -> Finding:
        words = f"{n} rows of {rows.shape[1]} values with labels; {same} of them are unlike others"
        return linked(ROWS, link(victims.known, rows, labels, chance_of(1)), words)

    def membership() -> Finding:
        others, _ = outsiders(last.request, bench)
        found = member_by_row(victims.known, rows, others, chance_of(3))
        return told(ROWS, found, "by the nearest row; whoever can compute the row needs no guess")

    return [
        attempt(ROWS, "linkage", linkage),
        attempt(ROWS, "reconstruction", lambda: values_told(ROWS, rows, victims)),
        attempt(ROWS, "membership", membership),
    ]


def on_weights(released: Released, bench: Workbench) -> list[Finding]:
    """Membership by loss, where networks were trained; their weights go to all sites."""
    trained = {TRAIN_BRANCH.name, PREFIX + TRAIN_BRANCH.name}
    if not any(row.question in trained for row in released.rows):
        return []
    site = bench.site
    members, others = site.labels(site.training), site.labels(site.internal_test)
    findings = []
    for weights in weights_named(released.kept):
        try:
            _, inside = kept_outputs(bench, weights, site.training)
            _, outside = kept_outputs(bench, weights, site.internal_test)
        except TrifedError:
            continue
        losses = [losses_of(*each) for each in ((inside, members), (outside, others))]
        if min(map(len, losses)) < 2:
            continue
        words = "by the loss of the pooled weights: patients that trained them have a smaller one"
        found = told_apart(-losses[0], -losses[1])
        findings.append(told(f"{WEIGHTS} {weights[:8]}", found, words))
    return findings or [
        not_measured(WEIGHTS, "membership", "outputs of the pooled weights are not kept here")
    ]


def weights_named(kept: Sequence[Kept]) -> list[str]:
    """The hashes of weights that kept questions name; any other hash finds no outputs."""
    texts = (pack(each.request).text for each in kept if each.request is not None)
    return list(dict.fromkeys(name for text in texts for name in HEX.findall(text)))


def losses_of(logits: Floats, labels: Ints) -> Floats:
    """The log-loss of each patient who has an output."""
    there = np.isfinite(logits)
    return log_losses(labels[there], 1 / (1 + np.exp(-logits[there])))


def audit_run(
    site_file: Path, study_file: Path, beginning: str, *, threads: int | None = None
) -> Audit:
    """Audit a run of a study at the hospital of a site file; its patients' tables are read.

    Raises:
        LedgerError: If the ledger is not whole, or knows no such run.
        AuditError: If nothing was released or is kept, or the study is not the run's.
    """
    released, study = read_released(site_file, beginning), load_study(study_file)
    if digest(study) != released.study:
        raise AuditError(
            f"{study_file}: is the study {digest(study)[:16]}, and run {released.run[:8]} is of "
            f"{released.study[:16]}. Name the run's study file with --study."
        )
    site = open_site(site_file, study, threads=threads, local=True)
    return audit(released, Workbench(site, threads=site.threads))
