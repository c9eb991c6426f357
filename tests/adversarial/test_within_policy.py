"""Whatever a server asks, of whatever study, what leaves is within the hospital's policy.

A whole run's questions are handed to hospitals whose policies and studies are drawn by chance, one
after the other and whatever was refused before, as a server would that heeds no refusal. What left
is held against the policy by rules that are written here anew, of the file's keys and of the
answers alone: nothing of the product is asked whether it may be told.
"""

import dataclasses
import random
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from client.releases.row import content_of
from client.secagg.answers import EVERY_ANSWER
from shared.config import Study
from shared.errors import TrifedError
from shared.letter import Letter, read
from shared.stages.secure_sums import SUMMED_NAMES
from shared.talk import question, refused
from tests.adversarial.hospital import PHASE, RUN, served, small_study
from tests.conftest import flat_branch, write_patient, write_site
from tests.finished_runs import run_without_report
from tests.site_policies import EVERY_ROW, write_whole_policy

TRAINING = ("site_a", "site_b")
PART = 23
"""Patients of each split, and of the external hospital: a length that nothing else here has."""
N = 3 * PART
FEWEST = {"site_a": N // 2, "site_d": PART // 2}
"""Patients of the rarer label."""
COUNTS = ("n", "n_cases", "n_negative", "n_positive")
"""What counts the patients behind numbers."""
MODES = {
    "embed_rows": {"embeddings", "scores"},
    "embed_noised": {"embeddings+dp"},
    "fusion_noised": {"statistics+dp"},
    "fusion_moments": {"statistics"},
    "fusion_steps": {"statistics"},
    "fusion_losses": {"statistics"},
    "fusion_scores": {"statistics"},
}
Asked = list[tuple[str, Letter]]


def study_of(exchange: str = "statistics", **changes: Any) -> Study:
    """A study of one phase with one small network."""
    (branch,) = flat_branch(size=[16, 16])
    branch["training"] |= changes.pop("training", {})
    sites = {"training": list(TRAINING), "external": ["site_d"]}
    fusion = {"inputs": ["embeddings", "radiomics_score", "clinical"], "exchange": exchange}
    return small_study(branches=[branch], sites=sites, fusion=fusion, **changes)


@contextmanager
def recorded(kept: Asked) -> Iterator[None]:
    """Keep every question that a run in this process asks, as the letter that would carry it."""
    from simulation.local import LocalFederation

    ask = LocalFederation.ask

    def keep(self: Any, asked: Any, request: Any, sites: Any, **options: Any) -> Any:
        kept.append((asked.name, question(asked.name, RUN, request)))
        return ask(self, asked, request, sites, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalFederation, "ask", keep)
        yield


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory):
    """Two training hospitals and an external one, of made-up patients."""
    root = tmp_path_factory.mktemp("hospitals")
    training = {name: hospital(root / name, "training", N) for name in TRAINING}
    return training | {"site_d": hospital(root / "site_d", "external", PART)}


def hospital(folder: Path, role: str, n: int) -> Path:
    """The site file of a hospital whose patients are no other's, and not parted by their images."""
    path = write_site(folder, n=n, name=folder.name, role=role, phases=(PHASE,), split=True)
    for index in range(n):
        bright = index % 2 ^ (index % 5 < 2)
        image = 2 * (1000 * ord(folder.name[-1]) + index) + bright
        write_patient(folder / "images", f"P{index:03d}", (PHASE,), image)
    for table in ("manifest.csv", "clinical.csv"):
        text = (folder / table).read_text()
        (folder / table).write_text(re.sub("^P", folder.name[-1].upper(), text, flags=re.MULTILINE))
    return path


@pytest.fixture(scope="module")
def asked(hospitals, tmp_path_factory):
    """All questions of two runs at hospitals that let everything leave: on sums, and on rows."""
    kept: Asked = []
    for path in hospitals.values():
        write_whole_policy(path, "version: 1\npack: simulation\n")
    with recorded(kept):
        for mode in ("statistics", "embeddings"):
            out = tmp_path_factory.mktemp(mode) / "run"
            run_without_report(study_of(mode), out, list(hospitals.values()))
    return kept


def drawn_policy(chance: random.Random) -> dict[str, Any]:
    """A policy that names every key; most values are such as let a study run."""

    def some(*values: Any) -> tuple[Any, ...]:
        return tuple(value for value in values if chance.random() < 0.95)

    def mostly(usual: Any, *others: Any) -> Any:
        return usual if chance.random() < 0.95 else chance.choice(others)

    return {
        "version": 1,
        "pack": "simulation",
        "cohort": {
            "min_patients": mostly(10, N, N + 1),
            "min_external": mostly(5, PART, PART + 1),
            "min_class": mostly(0, PART // 2, PART // 2 + 1, N // 2, N // 2 + 1),
            "min_delta": chance.choice([1, 5]),
        },
        "release": {
            "min_cell": chance.choice([1, 1, 3, 4, 8, 11, 30]),
            "min_tail": chance.choice([1, 3]),
            "max_score_bins": chance.choice([20, 50, 1000]),
            "external": chance.choice(["summary", "binned", "scores"]),
            "exchange": list(some("statistics", "embeddings", "scores")),
            "legal_basis": "made up",
            "max_dimension": mostly(8, 1),
            "keep_rows_days": 30,
            "rows": list(some("embeddings", "scores", "labels", "radiomics_score", "clinical")),
            "rows_of": list(some("tune", "train")),
        },
        "train": {
            "max_rounds": mostly(5, 1),
            "min_batch": mostly(2, 17),
            "max_lr": mostly(0.1, 1e-6),
            "max_epochs": mostly(5, 1),
            "min_steps": mostly(1, 7),
            "max_weight": 10.0,
            "max_growth": None,
        },
        "dp": {
            "required": chance.random() < 0.05,
            "max_epsilon": None,
            "max_fusion_epsilon": None,
            "max_delta": 1e-5,
        },
        "secagg": {"required": chance.random() < 0.05},
        "refusals": {"most": 1000},
    }


def drawn_study(chance: random.Random, modes: Sequence[str]) -> Study:
    """The study that a hospital holds; the questions come of another one, or of a like one."""
    every = ("statistics", "embeddings", "scores")
    return study_of(
        chance.choice(modes if modes and chance.random() < 0.8 else every),
        training={
            "rounds": chance.choice([1, 2]),
            "batch_size": chance.choice([8, 16]),
            "local_epochs": chance.choice([1, 2]),
        },
        embedding={"dimension": chance.choice([1, 2, 2, 2])},
        evaluation={"score_bins": chance.choice([200, 1000, 1000, 1000])},
    )


@pytest.mark.slow
def test_all_that_leaves_is_within_the_policy(hospitals, asked):
    seen = set()
    for seed in range(20, 30):
        chance = random.Random(seed)
        for site, path in ((site, hospitals[site]) for site in ("site_a", "site_d")):
            policy = drawn_policy(chance)
            study = drawn_study(chance, policy["release"]["exchange"])
            if chance.random() < 0.8:
                forget_looks(path)
            told = answered(path, study, policy, asked)
            seen |= {name for name, _ in told}
            found = list(told_beyond(policy, study, site, told))
            assert found == [], f"{site}, seed {seed}\n{yaml.safe_dump(policy)}"
    assert {"fusion_scores", "embed_rows", "train_branch", "external_scores"} <= seen
    rules_see_what_is_beyond(hospitals, asked)


def rules_see_what_is_beyond(hospitals, asked) -> None:
    """What a generous policy lets leave breaks each rule of a narrow one."""
    wide = drawn_policy(random.Random("wide"))
    wide["cohort"] = {"min_patients": 1, "min_external": 1, "min_class": 0, "min_delta": 1}
    wide["release"] |= {
        "min_cell": 1,
        "min_tail": 1,
        "max_score_bins": 1000,
        "external": "scores",
        "exchange": ["embeddings"],
        "max_dimension": 8,
        "rows": list(EVERY_ROW),
        "rows_of": ["tune"],
    }
    wide["train"] |= {"max_rounds": 5, "min_batch": 2, "max_lr": 1.0, "max_epochs": 5}
    wide["train"]["min_steps"] = 1
    wide["dp"]["required"] = wide["secagg"]["required"] = False
    study = study_of("embeddings", embedding={"dimension": 2}, training={"local_epochs": 2})
    told = {}
    for site in ("site_a", "site_d"):
        forget_looks(hospitals[site])
        told[site] = answered(hospitals[site], study, wide, asked)
        assert list(told_beyond(wide, study, site, told[site])) == []
    for rule, narrow in (
        ("min_patients", {"cohort": {"min_patients": N + 1}}),
        ("min_class", {"cohort": {"min_class": N}}),
        ("secagg.required", {"secagg": {"required": True}}),
        ("dp.required", {"dp": {"required": True}}),
        ("train.max_lr", {"train": {"max_lr": 1e-9}}),
        ("train.min_batch", {"train": {"min_batch": 500}}),
        ("train.min_steps", {"train": {"min_steps": 500}}),
        ("train.max_epochs", {"train": {"max_epochs": 1}}),
        ("train.max_rounds", {"train": {"max_rounds": 0}}),
        ("release.exchange", {"release": {"exchange": ["statistics"]}}),
        ("release.rows:", {"release": {"rows": ["labels"]}}),
        ("release.rows_of", {"release": {"rows_of": ["train"]}}),
        ("release.max_dimension", {"release": {"max_dimension": 1}}),
        ("release.keep_rows_days", {"release": {"keep_rows_days": 29}}),
        ("release.min_cell", {"release": {"min_cell": 30}}),
        ("release.max_score_bins", {"release": {"max_score_bins": 20}}),
        ("release.external: scores", {"release": {"external": "binned"}}),
        ("release.external: counts", {"release": {"external": "summary"}}),
        ("rows of patients", {"release": {"external": "binned"}}),
    ):
        policy = wide | {section: wide[section] | keys for section, keys in narrow.items()}
        broken = [line for site in told for line in told_beyond(policy, study, site, told[site])]
        assert any(line.startswith(rule) for line in broken), f"{rule} sees nothing"


def forget_looks(site_file: Path) -> None:
    """Let an external cohort be one that no model was shown."""
    for folder in (site_file.parent, site_file.parent / "cache"):
        (folder / "looks.json").unlink(missing_ok=True)


def answered(site_file: Path, study: Study, policy: dict[str, Any], asked: Asked) -> Asked:
    """What leaves a hospital that is asked everything; each answer stands in its ledger, whole."""
    write_whole_policy(site_file, yaml.safe_dump(policy))
    run, told = secrets.token_hex(16), list[tuple[str, Letter]]()
    try:
        with served(site_file, study) as hospital:
            before = len(hospital.rows())
            for name, letter in asked:
                records = letter.records | {"ask": {"name": name, "run": run}}
                reply = hospital.hand_in(Letter(records, letter.arrays))
                if refused(reply) is None:
                    told.append((name, reply))
            released = [row for row in hospital.rows()[before:] if row.verdict == "released"]
    except TrifedError:
        assert told == []
        return []
    rows = [(row.question, row.content.sha256) for row in released]
    assert rows == list(dict.fromkeys((name, content_of(reply).sha256) for name, reply in told))
    return told


def told_beyond(policy: dict[str, Any], study: Study, site: str, told: Asked) -> Iterator[str]:
    """What left beyond the policy, in words that begin with the key."""
    release, training = policy["release"], site != "site_d"
    least = policy["cohort"]["min_patients" if training else "min_external"]
    if told and (N if training else PART) < least:
        yield f"min_patients: {told[0][0]}"
    if told and FEWEST[site] < policy["cohort"]["min_class"]:
        yield f"min_class: {told[0][0]}"
    for name, letter in told:
        reply = read(EVERY_ANSWER[name][0].reply, letter)
        if re.search(r"\b[A-D]0[0-9]{2}\b", str(letter.records)):
            yield f"a patient's id: {name}"
        yield from _sums_beyond(policy, name)
        yield from _training_beyond(policy, study, name, reply)
        yield from _rows_beyond(release, study, name, reply)
        yield from _cells_beyond(release, study, name, reply)
        if name == "external_scores":
            yield from _levels_beyond(release, reply)


def _sums_beyond(policy: dict[str, Any], name: str) -> Iterator[str]:
    if policy["secagg"]["required"] and name in SUMMED_NAMES:
        yield f"secagg.required: {name}"


def _training_beyond(policy: dict[str, Any], study: Study, name: str, reply: Any) -> Iterator[str]:
    limits, asks = policy["train"], study.branches[0].training
    if name != "train_branch" or (reply.weights is None and reply.change is None):
        return
    if policy["dp"]["required"]:
        yield f"dp.required: {name}"
    for key, found, limit in (
        ("max_rounds", asks.rounds, limits["max_rounds"]),
        ("min_batch", -asks.batch_size, -limits["min_batch"]),
        ("max_lr", asks.learning_rate, limits["max_lr"]),
        ("max_epochs", asks.local_epochs, limits["max_epochs"]),
        ("min_steps", -asks.local_epochs * -(-PART // asks.batch_size), -limits["min_steps"]),
    ):
        if found > limit:
            yield f"train.{key}: {name}: {found} is beyond {limit}"


def _rows_beyond(release: dict[str, Any], study: Study, name: str, reply: object) -> Iterator[str]:
    mode = study.fusion.exchange
    if name in MODES and not ({mode} & MODES[name] & set(release["exchange"])):
        yield f"release.exchange: {name} in a study of {mode}"
    by_patient = [
        at
        for at, value in contents(reply)
        if isinstance(value, np.ndarray) and {PART, N} & set(value.shape)
    ]
    if name == "external_scores" and release["external"] == "scores":
        by_patient = [at for at in by_patient if not at.startswith("scores/")]
    if name != "embed_rows":
        yield from (f"rows of patients: {name}: {at}" for at in by_patient)
        return
    branches = mode if mode == "scores" else "embeddings"
    for part in ("labels", "radiomics_score", "clinical", branches):
        if part not in release["rows"]:
            yield f"release.rows: {part}"
    if study.fusion.rows_of not in release["rows_of"]:
        yield f"release.rows_of: {study.fusion.rows_of}"
    n_columns = sum(column.startswith(study.branches[0].name) for column in reply.columns)
    if mode == "embeddings" and n_columns > release["max_dimension"]:
        yield f"release.max_dimension: {n_columns}"
    last = datetime.now(UTC).date() + timedelta(days=release["keep_rows_days"])
    if not reply.delete_by or date.fromisoformat(reply.delete_by) > last:
        yield f"release.keep_rows_days: {reply.delete_by}"


def _cells_beyond(release: dict[str, Any], study: Study, name: str, reply: object) -> Iterator[str]:
    bins, most = study.evaluation.score_bins, release["max_score_bins"]
    for at, value in contents(reply):
        last = at.rsplit("/", 1)[-1]
        if last in COUNTS and not {0, *range(release["min_cell"], N + 1)} >= set(np.ravel(value)):
            yield f"release.min_cell: {name}: {at} is {value}"
        if last in ("negatives", "positives") and len(value) == bins > most:
            steps = {place % (bins // most) for place in np.flatnonzero(value).tolist()}
            if len(steps) > 1:
                yield f"release.max_score_bins: {name}: {at} has scores at {steps}"


def _levels_beyond(release: dict[str, Any], reply: Any) -> Iterator[str]:
    if reply.scores is not None and release["external"] != "scores":
        yield "release.external: scores"
    if reply.sums and release["external"] == "summary":
        yield "release.external: counts in bins"


def contents(value: object, at: str = "") -> Iterator[tuple[str, Any]]:
    """Every content of an answer that is not made of others, by its place."""
    if dataclasses.is_dataclass(value):
        parts = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    elif isinstance(value, dict):
        parts = list(value.items())
    elif isinstance(value, tuple):
        parts = list(enumerate(value))
    else:
        yield at, value
        return
    for name, part in parts:
        yield from contents(part, f"{at}/{name}" if at else str(name))
