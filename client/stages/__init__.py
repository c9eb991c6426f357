"""The sites' half of each stage: a question's name to the function that answers it."""

from collections.abc import Callable
from typing import Any

from client.stages import (
    clinical_model,
    describe_cohort,
    discretise,
    embed,
    evaluate,
    explain,
    external_evaluate,
    fuse,
    hello,
    select_features,
    stability,
    standardise,
    train_branches,
)
from client.workbench import Workbench
from shared.stages import Question
from shared.stages.clinical_model import CLINICAL_HATS, CLINICAL_STEP, PREDICTOR_MEANS
from shared.stages.describe_cohort import COUNT_VARIABLES, DESCRIBE_COHORT
from shared.stages.discretise import COUNT_RANGES
from shared.stages.embed import EMBED_NOISED, EMBED_OUTPUTS, EMBED_ROWS
from shared.stages.evaluate import EVALUATE_OUTPUTS, EVALUATE_PLACEMENTS, EVALUATE_SCORES
from shared.stages.explain import EXPLAIN
from shared.stages.external_evaluate import EXTERNAL_OUTPUTS, EXTERNAL_SCORES
from shared.stages.fuse import (
    FUSION_LOSSES,
    FUSION_MOMENTS,
    FUSION_NOISED,
    FUSION_SCORES,
    FUSION_STEPS,
)
from shared.stages.hello import EXTERNAL_HELLO, HELLO
from shared.stages.select_features import (
    BIN_FEATURES,
    CALIBRATE,
    COUNT_SCALED,
    GRAM,
    LOGISTIC_LASSO,
    LOOK_ALIKE,
    SCREEN,
)
from shared.stages.stability import READINGS
from shared.stages.standardise import COUNT_FEATURES, STANDARDISE
from shared.stages.train_branches import AGREE_BUDGET, TRAIN_BRANCH

Answer = Callable[[Any, Workbench], Any]

ANSWERS: dict[str, tuple[Question[Any, Any], Answer]] = {
    question.name: (question, answer)
    for question, answer in (
        (HELLO, hello.answer),
        (EXTERNAL_HELLO, hello.answer),
        (DESCRIBE_COHORT, describe_cohort.answer),
        (COUNT_VARIABLES, describe_cohort.answer_count),
        (COUNT_RANGES, discretise.answer),
        (READINGS, stability.answer),
        (STANDARDISE, standardise.answer),
        (COUNT_FEATURES, standardise.answer_count),
        (SCREEN, select_features.answer_screen),
        (COUNT_SCALED, select_features.answer_count_scaled),
        (BIN_FEATURES, select_features.answer_bins),
        (GRAM, select_features.answer_gram),
        (LOOK_ALIKE, select_features.answer_look_alike),
        (LOGISTIC_LASSO, select_features.answer_logistic_lasso),
        (CALIBRATE, select_features.answer_calibrate),
        (PREDICTOR_MEANS, clinical_model.answer_means),
        (CLINICAL_STEP, clinical_model.answer_step),
        (CLINICAL_HATS, clinical_model.answer_hats),
        (AGREE_BUDGET, train_branches.answer_budget),
        (TRAIN_BRANCH, train_branches.answer),
        (EMBED_OUTPUTS, embed.answer_outputs),
        (EMBED_ROWS, embed.answer_rows),
        (EMBED_NOISED, embed.answer_noised),
        (FUSION_MOMENTS, fuse.answer_moments),
        (FUSION_STEPS, fuse.answer_steps),
        (FUSION_LOSSES, fuse.answer_losses),
        (FUSION_SCORES, fuse.answer_scores),
        (FUSION_NOISED, fuse.answer_noised),
        (EVALUATE_OUTPUTS, evaluate.answer_outputs),
        (EVALUATE_SCORES, evaluate.answer_scores),
        (EVALUATE_PLACEMENTS, evaluate.answer_placements),
        (EXPLAIN, explain.answer),
        (EXTERNAL_OUTPUTS, external_evaluate.answer_outputs),
        (EXTERNAL_SCORES, external_evaluate.answer_scores),
    )
}
