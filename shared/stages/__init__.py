"""One contract for each stage: what is asked, what is answered, and what leaves the hospital.

A stage asks one or more questions. A question has a name, a request and a reply; the same name
finds the site's half in ``client/stages`` and travels as the action of a Flower message.
"""

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")


@dataclass(frozen=True, slots=True)
class Question(Generic[RequestT, ReplyT]):
    """One thing a stage asks of sites with a role; `verb` is Flower's category of message."""

    name: str
    verb: Literal["query", "train", "evaluate"]
    request: type[RequestT]
    reply: type[ReplyT]
    of: Literal["training", "external"] = "training"


STAGES = (
    "hello",
    "describe_cohort",
    "discretise",
    "stability",
    "standardise",
    "select_features",
    "clinical_model",
    "train_branches",
    "embed",
    "fuse",
    "evaluate",
    "explain",
    "external_evaluate",
)
