"""External evaluate: the frozen bundle meets a hospital that took part in nothing before.

Leaves the hospital: what `evaluate` lets leave, for the external cohort, and what
`describe_cohort` lets leave. Nothing that comes back is fitted on.
Stays: every patient's score.
"""

from dataclasses import dataclass

from shared.scores import ScoreSums
from shared.stages import Question
from shared.stages.describe_cohort import Description
from shared.stages.evaluate import OutputsReply, OutputsRequest, ScoresRequest


@dataclass(frozen=True, slots=True, eq=False)
class ExternalReply:
    """The cohort in numbers, and model name to sums."""

    description: Description
    models: dict[str, ScoreSums]


EXTERNAL_OUTPUTS = Question(
    "external_outputs", "evaluate", OutputsRequest, OutputsReply, of="external"
)
EXTERNAL_SCORES = Question(
    "external_scores", "evaluate", ScoresRequest, ExternalReply, of="external"
)
