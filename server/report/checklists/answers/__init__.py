"""What a run answers by itself: one function for each thing that a checklist asks."""

from server.report.checklists.answers.cohort import COHORT
from server.report.checklists.answers.methods import METHODS
from server.report.checklists.answers.models import MODELS
from server.report.checklists.answers.performance import PERFORMANCE
from server.report.checklists.answers.radiomics import RADIOMICS
from server.report.checklists.answers.run import Answer, Answerer, Run, run_of

__all__ = ["ANSWERS", "Answer", "Run", "run_of"]

ANSWERS: dict[str, Answerer] = {**COHORT, **RADIOMICS, **MODELS, **METHODS, **PERFORMANCE}
"""By the names that the checklists' files use; None where a run does not know."""
