"""The answers that a study will ask of an external site, at their largest."""

from collections.abc import Iterator

from client.forecast.crowd import Crowd
from client.forecast.description import described_by, text_of_images
from client.forecast.expected import Expected
from client.policy.settings import Policy
from client.settings import SiteSettings
from shared.comparison import Comparison
from shared.config import Study, networks
from shared.delong import correlated_aucs
from shared.stages.evaluate import OutputsReply
from shared.stages.external_evaluate import (
    EXTERNAL_OUTPUTS,
    EXTERNAL_SCORES,
    ExternalLevel,
    ExternalReply,
    ScoreTable,
)
from shared.subgroups import SubgroupScores, subgroup_names

EXTERNAL = "external patients"
DATE = "2000-01-01T00:00:00+00:00"


def of_external(study: Study, settings: SiteSettings, policy: Policy) -> Iterator[Expected]:
    """The frozen models, once."""
    for network in networks(study):
        yield Expected(
            EXTERNAL_OUTPUTS, lambda _: OutputsReply(), "nobody", about=network.name, checked=False
        )
    level = policy.release.external
    yield Expected(
        EXTERNAL_SCORES,
        lambda n: reply_of(Crowd(study, n), settings, level),
        EXTERNAL + (", a row of scores and the label of each" if level == "scores" else ""),
        more_text=text_of_images(study, settings, policy),
    )


def reply_of(crowd: Crowd, settings: SiteSettings, level: ExternalLevel) -> ExternalReply:
    """The answer at the level of the policy."""
    study = crowd.study
    sums = {} if level == "summary" else crowd.of_models()
    table = ScoreTable(study.model_names, crowd.scores.T, crowd.labels)
    divided = {
        column: SubgroupScores(
            crowd.n,
            {model: (one,) * len(groups) for model, one in sums.items()},
            {model: (one,) * len(groups) for model, one in crowd.summaries().items()},
        )
        for column, groups in subgroup_names(study).items()
    }
    aucs = correlated_aucs(crowd.scores, crowd.labels)
    return ExternalReply(
        level=level,
        cohort="0" * 64,
        looks=1,
        date=DATE,
        description=described_by(crowd, settings, ("external_test",)),
        summaries=crowd.summaries(),
        sums=sums,
        scores=table if level == "scores" else None,
        comparison=Comparison(study.model_names, crowd.n, aucs, crowd.paired()),
        subgroups=divided,
        contributions=crowd.contributions(),
    )
