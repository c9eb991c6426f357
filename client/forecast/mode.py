"""How a study fits its fusion layer, and what of privacy that has, in a sentence for a person."""

from shared.config import Study
from shared.fusion_settings import SCORE_STEP

NO_NOISE = "without noise (epsilon is infinite)"
WORDS = {
    "embeddings": f"a row for each patient with embeddings, {NO_NOISE}: pseudonymous data, by "
    "which a later scan of the patient can be found again",
    "scores": f"a row for each patient with scores in steps of {SCORE_STEP:g} logits, {NO_NOISE}",
    "statistics": f"sums over patients, {NO_NOISE}, held to the smallest cell and to leverage",
}


def mode_words(study: Study) -> str:
    """The mode by its name, and its epsilon, or that there is none."""
    fusion = study.fusion
    if not fusion.is_private:
        return f"Fusion layer: mode {fusion.exchange}: {WORDS[fusion.exchange]}."
    what = "a row for each patient" if fusion.tells_rows else "sums over patients"
    return (
        f"Fusion layer: mode {fusion.exchange}: {what} with noise, all together epsilon "
        f"{fusion.dp.epsilon:g} at delta {fusion.dp.delta:g} at most, over all runs of this study. "
        "Nothing else that is told of these patients is covered."
    )
