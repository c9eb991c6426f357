"""Each key of a policy: what it is for, which of two values is looser, and what that allows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from client.policy.packs import pack_policy
from client.policy.settings import LEAST_CELL, Policy
from shared.stages.external_evaluate import LEVELS


def lower(value: float, other: float) -> bool:
    """Whether a least number is looser than another."""
    return value < other


def higher(value: float | None, other: float | None) -> bool:
    """Whether a greatest number is looser than another; None is no limit."""
    return other is not None and (value is None or value > other)


def switched_off(value: bool, other: bool) -> bool:
    """Whether what is demanded elsewhere is not demanded here."""
    return other and not value


def more(value: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether a list allows what another does not."""
    return not set(value) <= set(other)


def given(value: str, other: str) -> bool:
    """Whether something is claimed that is not elsewhere."""
    return bool(value.strip()) and not other.strip()


def further(*order: str) -> Callable[[str, str], bool]:
    """Whether a word stands further on in an order than another."""
    return lambda value, other: order.index(value) > order.index(other)


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Attributes:
        name: With its section, as `release.min_cell`.
        sentence: What it says, in words for whoever decides.
        is_looser: Whether the first of two values lets more happen.
        means: What a looser value lets happen.
    """

    name: str
    sentence: str
    is_looser: Callable[[Any, Any], bool]
    means: str

    def of(self, policy: Policy) -> Any:
        """Its value in a policy."""
        section, _, key = self.name.partition(".")
        return getattr(getattr(policy, section), key)

    def set(self, policy: Policy, value: Any) -> Policy:
        """The policy with another value of the key, unchecked."""
        section, _, key = self.name.partition(".")
        changed = getattr(policy, section).model_copy(update={key: value})
        return policy.model_copy(update={section: changed})


KEYS = (
    Key(
        "cohort.min_patients",
        "A training site with fewer usable patients answers nothing.",
        lower,
        "a smaller cohort is learnt from",
    ),
    Key(
        "cohort.min_external",
        "An external site with fewer usable patients answers nothing.",
        lower,
        "models are tested on a smaller cohort",
    ),
    Key(
        "cohort.min_class",
        "A site with fewer usable patients of either label answers nothing.",
        lower,
        "a cohort with fewer patients of a label takes part",
    ),
    Key(
        "cohort.min_delta",
        "The same is not told of two cohorts, over all runs and studies, that differ by fewer "
        f"patients than this, unless by none; at least {LEAST_CELL} for real patients.",
        lower,
        "whoever subtracts one cohort's numbers from another's learns of fewer patients",
    ),
    Key(
        "cohort.differing",
        "Cohorts that are told of though they differ by fewer, by the names that a refusal gives "
        "them.",
        more,
        "whoever subtracts such a cohort's numbers from those told before learns of the few "
        "patients between them",
    ),
    Key(
        "release.min_cell",
        "A number over fewer patients than this, unless over none, is refused before it is "
        f"computed; at least {LEAST_CELL} for real patients.",
        lower,
        "numbers over fewer patients leave",
    ),
    Key(
        "release.min_tail",
        "Where fewer patients than this have a value of a clinical variable at or below a number, "
        "or above it, none is said to have. Quartiles need four times as many of either label at "
        "each site to be exact.",
        lower,
        "the largest and the smallest value of a variable can be searched for among fewer patients",
    ),
    Key(
        "release.max_score_bins",
        "In how many equal bins scores are told of at most; of a study with more bins they are "
        "rounded first. With 1000 nearly every label can be read by rank; with 100 an AUC moves "
        "by up to .002, with 50 by .005.",
        higher,
        "more patients stand alone in a bin, so that their labels can be read by rank",
    ),
    Key(
        "release.external",
        "What an external site may tell of how models did: summary (a few numbers), binned (counts "
        "of scores in fine bins, too), scores (a row for each patient, without an id).",
        further(*LEVELS),
        "more is told of how models score this site's patients",
    ),
    Key(
        "release.exchange",
        "What a study may fit its fusion layer on (fusion.exchange), each by its name: statistics "
        "(sums, no row of a patient), statistics+dp (sums with noise), scores, embeddings+dp "
        "(with noise) or embeddings (a row for each patient, without an id; the last two need "
        "legal_basis).",
        more,
        "rows about single patients can be asked for",
    ),
    Key(
        "release.legal_basis",
        "The law and the agreement by which embeddings of single patients may leave; empty where "
        "they may not.",
        given,
        "the hospital claims a basis for letting embeddings of single patients leave",
    ),
    Key(
        "release.max_dimension",
        "The most numbers that a network's embedding may be reduced to in such a row "
        "(embedding.dimension).",
        higher,
        "more of an embedding stands in a row about a single patient",
    ),
    Key(
        "release.keep_rows_days",
        "After so many days whoever was sent such rows is to have deleted them; the last day is "
        "told with them.",
        higher,
        "rows about single patients may be kept for longer",
    ),
    Key(
        "release.rows",
        "What may stand in such a row: any of embeddings, scores, labels, radiomics_score, "
        "clinical. A row without an id is still data about a patient.",
        more,
        "more stands in a row about a single patient",
    ),
    Key(
        "release.rows_of",
        "Of which patients such rows may leave: tune (set aside for it), train.",
        more,
        "rows of more patients leave",
    ),
    Key(
        "train.max_rounds",
        "The most rounds that a network of a study may be trained here, over all of its runs.",
        higher,
        "networks see the patients more often",
    ),
    Key(
        "train.min_batch",
        "The fewest patients that a study may have in a training step (batch_size).",
        lower,
        "a step of training follows fewer patients",
    ),
    Key(
        "train.max_lr",
        "The largest learning rate of a study's networks.",
        higher,
        "a step of training goes further after its patients",
    ),
    Key(
        "train.max_epochs",
        "How often a round of a study's network may see each patient (local_epochs).",
        higher,
        "a round follows its patients further",
    ),
    Key(
        "train.min_steps",
        "The fewest training steps of a round without noise. An update of one step is a sum of "
        "its patients' gradients.",
        lower,
        "an update is of so few steps that patients' gradients can be had from it",
    ),
    Key(
        "train.max_weight",
        "How many negative patients a positive one may count in training, or the other way round.",
        higher,
        "patients of one label move a network further",
    ),
    Key(
        "train.max_growth",
        "How many times larger or smaller the weights that a server sends may be than those of "
        "the round before, by their norm; with a number no layer may die, either. null: nothing "
        "is compared.",
        higher,
        "a server may put weights in the place of an aggregate at which training tells more",
    ),
    Key(
        "dp.required",
        "Networks are trained only under differential privacy, by studies with a section dp.",
        switched_off,
        "networks may be trained without noise: their weights carry no guarantee",
    ),
    Key(
        "dp.max_epsilon",
        "The largest epsilon that all networks and fusion layers of all studies together may reach "
        "for any patient; null for no limit. With a number, no network is trained without noise.",
        higher,
        "networks may show more of a patient",
    ),
    Key(
        "dp.max_fusion_epsilon",
        "The largest epsilon that fusion layers fitted with noise (fusion.exchange: statistics+dp, "
        "embeddings+dp) may reach for any patient, over all studies; null for no limit.",
        higher,
        "fusion layers may show more of a patient",
    ),
    Key(
        "dp.max_delta",
        "The largest delta of a study's differential privacy.",
        higher,
        "the guarantee of differential privacy may fail with a larger probability",
    ),
    Key(
        "secagg.required",
        "Sums that are only ever added to other hospitals' leave under masks, so that the server "
        "knows their total over at least three hospitals and none of this one's.",
        switched_off,
        "the server may know this hospital's own sums",
    ),
    Key(
        "refusals.most",
        "After so many refused questions of a run, no further question of it is answered.",
        higher,
        "a server may try more questions that are refused",
    ),
)


def exceptions(policy: Policy) -> list[str]:
    """What the policy allows beyond its pack, a line in plain words for each key."""
    pack = pack_policy(policy.pack)
    return [
        f"{key.name}: {said(key.of(policy))}, where the pack {policy.pack} has "
        f"{said(key.of(pack))}: {key.means}"
        for key in KEYS
        if key.is_looser(key.of(policy), key.of(pack))
    ]


def said(value: Any) -> str:
    """A value as a policy's file has it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{', '.join(value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value) or '""'
