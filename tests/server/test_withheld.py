"""Where sites keep sums to themselves, the stage says what happened and what to do about it."""

from types import SimpleNamespace

import numpy as np
import pytest

from server.radiomics_score import ScoreFitting
from server.stages.fuse import fitted_on_sums
from server.stages.select_features import calibrate
from shared.errors import CohortError, WithheldError
from shared.fusion_settings import Fusion
from shared.models import Extraction, Scale
from shared.radiomics_settings import Selection

REFUSAL = "failed at site_b: E_LEVERAGE (1 of the 2 needed sites answered)"


@pytest.fixture
def coordinator():
    """Two sites, of which one withholds whatever is asked."""

    def ask(question, *_):
        raise WithheldError(f"{question.name} {REFUSAL}")

    settings = SimpleNamespace(
        seed=1,
        selection=Selection(lasso="logistic"),
        fusion=Fusion(exchange="statistics"),
        clinical=SimpleNamespace(tolerance=1e-8, max_iterations=25),
    )
    federation = SimpleNamespace(ask=ask)
    return SimpleNamespace(settings=settings, federation=federation, training=("a", "b"))


def lasso(coordinator):
    ends = np.full(2, np.inf)
    scale = Scale(Extraction({}), ("u", "v"), -ends, ends, np.zeros(2), np.ones(2), {})
    ScoreFitting(coordinator, scale, [None] * 5).fit(("u", "v"))


def fuse(coordinator):
    parts = SimpleNamespace(columns=("u",), parts=())
    study = SimpleNamespace(embed=parts, clinical_model=SimpleNamespace(model=None))
    fitted_on_sums(study, coordinator)


@pytest.mark.parametrize(
    ("stage", "what", "remedy"),
    [
        (lasso, "the logistic LASSO", "keep_at_most"),
        (lambda asked: calibrate(asked, None), "the radiomics score", "max_features"),
        (fuse, "the fusion layer", "fusion.penalties"),
    ],
    ids=["lasso", "calibration", "fusion"],
)
def test_a_fit_that_cannot_go_on_ends_in_words_with_the_remedy_and_the_site(
    coordinator, stage, what, remedy
):
    with pytest.raises(CohortError) as told:
        stage(coordinator)
    for words in (what, "all but separates", "keeps them to itself", remedy, REFUSAL):
        assert words in str(told.value)
