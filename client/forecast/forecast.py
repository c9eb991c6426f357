"""The dry run: every answer that a study will ask of this site, in the study's order.

Nothing is opened but the site file, the policy and the study. An answer's content is the protocol's
own: it is made of nobody by the functions that make the real one, and looked at
(`client.forecast.crowd`). What the site refuses is learnt from the checks that will refuse it.
"""

import importlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from client.budget import refuse_without_noise
from client.forecast.expected import Array, Expected, Seen, seen_in
from client.forecast.external import of_external
from client.forecast.features import of_features
from client.forecast.masked import has_secure_sums, with_masks
from client.forecast.mode import mode_words
from client.forecast.trained import of_networks
from client.forecast.training import of_clinical, of_cohort, of_evaluation, of_fusion
from client.policy.beyond import beyond
from client.policy.load import load_policy
from client.policy.settings import Policy
from client.settings import SiteSettings, check_role, load_site_settings
from client.site import Site, silent
from client.stages.embed import demand_noised_rows, demand_rows, demand_sums
from shared.config import Study, digest
from shared.errors import PolicyError
from shared.identity import code_hash, versions
from shared.stages import STAGES, Question
from shared.stages.embed import EMBED_NOISED, EMBED_OUTPUTS, EMBED_ROWS
from shared.stages.hello import EXTERNAL_HELLO, HELLO, Reply
from shared.stages.train_branches import AGREE_BUDGET, TRAIN_BRANCH

SECURE = "secure_sums"
LEAVES = re.compile(r"(Leaves the hospital.*?)\nStays:", re.DOTALL)
Gate = Callable[[Any], None]
GATES: dict[str, Gate] = {
    EMBED_ROWS.name: demand_rows,
    EMBED_NOISED.name: demand_noised_rows,
    EMBED_OUTPUTS.name: demand_sums,
    TRAIN_BRANCH.name: refuse_without_noise,
    AGREE_BUDGET.name: refuse_without_noise,
}
"""The checks of settings alone that stand before some answers; each is handed a workbench."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """One kind of answer that would leave.

    Attributes:
        of: Whose numbers it holds; `about`: of which network, if of one.
        times: At most; None: as often as the server's search or fit takes.
        arrays: What it holds, and `fields` beside them.
        n_bytes: Of one answer at most, and `bytes_each` for each of `units`.
        least_cell: The fewest patients behind a number that is counted; None: none is counted.
        masked: Whether the server will know the sum over all sites alone; `n_bytes` is of that.
        refused: Why the site as it is set will not answer; empty where it will.
    """

    stage: str
    question: str
    about: str
    of: str
    times: int | None
    arrays: tuple[Array, ...]
    fields: tuple[str, ...]
    n_bytes: int
    bytes_each: int
    units: str
    least_cell: int | None
    epsilon: float | None
    refused: str
    masked: bool


@dataclass(frozen=True, slots=True)
class Forecast:
    """All that would leave a site.

    Attributes:
        beyond: What the study asks beyond the policy, for which it will not begin here.
        words: Each stage's own, from its contract.
        mode: How the fusion layer is fitted, and what of privacy it has; empty at an external site.
    """

    site: str
    role: str
    study: str
    title: str
    study_hash: str
    answers: tuple[Leaving, ...]
    words: dict[str, str]
    beyond: tuple[str, ...] = ()
    mode: str = ""

    @property
    def kinds(self) -> tuple[Leaving, ...]:
        """The answers, those of several networks that are alike in all else as one."""
        found: list[Leaving] = []
        for each in self.answers:
            if found and each == replace(found[-1], about=each.about):
                found[-1] = replace(found[-1], about=f"{found[-1].about}, {each.about}")
            else:
                found.append(each)
        return tuple(found)

    @property
    def most_bytes(self) -> int:
        """Of all answers whose number is known, without what grows with patients."""
        return sum(each.times * each.n_bytes for each in self.answers if each.times is not None)

    @property
    def refusals(self) -> tuple[str, ...]:
        """Why the study will stop here, each reason once."""
        refused = (each.refused for each in self.answers if each.refused)
        return tuple(dict.fromkeys((*self.beyond, *refused)))


def forecast(study: Study, site_file: Path) -> Forecast:
    """What a study would let leave the site of a site file.

    Raises:
        ConfigError: If the study does not name the site in its role; an external site may be a
            guest.
        PolicyError: If there is no policy in force.
    """
    settings = load_site_settings(site_file)
    check_role(settings, study, guest=True)
    policy = load_policy(site_file, settings)
    site = Site(site_file, settings, study, policy=policy, threads=1, progress=silent)
    expected = expected_of(study, settings, policy)
    answers = tuple(leaving(each, seen_in(each), site) for each in expected)
    stages = dict.fromkeys(each.stage for each in answers)
    return Forecast(
        site=settings.name,
        role=settings.role,
        study=study.name,
        title=study.title,
        study_hash=digest(study),
        answers=answers,
        words={stage: words_of(stage) for stage in stages},
        beyond=tuple(beyond(policy, study, settings)),
        mode=mode_words(study) if settings.role == "training" else "",
    )


def expected_of(study: Study, settings: SiteSettings, policy: Policy) -> Iterator[Expected]:
    """Every answer that a site of this role is asked for, in the study's order."""
    asked = asked_of(study, settings, policy)
    if settings.role == "training" and has_secure_sums(study, policy):
        return with_masks(asked, study, settings.name)
    return asked


def asked_of(study: Study, settings: SiteSettings, policy: Policy) -> Iterator[Expected]:
    """The same, without masks."""
    question = HELLO if settings.role == "training" else EXTERNAL_HELLO
    greeting = Reply(
        settings.name, settings.role, settings.synthetic, code_hash(), digest(study), versions()
    )
    yield Expected(question, lambda _: greeting, "nobody", checked=False)
    if settings.role == "external":
        yield from of_external(study, settings, policy)
        return
    yield from of_cohort(study, settings, policy)
    yield from of_features(study)
    yield from of_clinical(study)
    yield from of_networks(study)
    yield from of_fusion(study)
    yield from of_evaluation(study)


def leaving(expected: Expected, seen: Seen, site: Site) -> Leaving:
    """An expected answer at this site."""
    name, counted = expected.question.name, expected.checked and expected.of != "nobody"
    least = max(expected.least or 0, site.policy.release.min_cell) if counted else None
    asks = expected.of != "nobody" or name != EMBED_OUTPUTS.name
    return Leaving(
        stage=stage_of(expected.question),
        question=name,
        about=expected.about,
        of=expected.of,
        times=expected.times,
        arrays=seen.arrays,
        fields=seen.fields,
        n_bytes=seen.n_bytes,
        bytes_each=seen.bytes_each,
        units=expected.units,
        least_cell=least,
        epsilon=expected.epsilon,
        refused=refused(name, site) if asks else "",
        masked=expected.masked is not None,
    )


def refused(question: str, site: Site) -> str:
    """Why the site's settings let no answer to a question leave; empty where they do.

    The site is one that was not opened: it has settings, and no patients.
    """
    gate = GATES.get(question)
    if gate is None:
        return ""
    try:
        gate(SimpleNamespace(study=site.study, site=site))
    except PolicyError as error:
        return str(error)
    return ""


def stage_of(question: Question[Any, Any]) -> str:
    """The stage whose contract declares a question."""
    for stage in (*STAGES, SECURE):
        if question in vars(importlib.import_module(f"shared.stages.{stage}")).values():
            return stage
    raise ValueError(f"no stage asks {question.name}")


def words_of(stage: str) -> str:
    """What a stage's contract says of what leaves, in one paragraph."""
    text = importlib.import_module(f"shared.stages.{stage}").__doc__ or ""
    found = LEAVES.search(text)
    return " ".join((found.group(1) if found else text).replace("`", "").split())
