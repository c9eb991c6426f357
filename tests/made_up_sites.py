"""Sites in memory for the stage `select_features`: tables, labels, and their rows pooled."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from client.stages import ANSWERS
from client.stages.select_features import folds
from server.federation import WithoutFold
from server.study import DiscretiseRecord, ScaleRecord, StabilityRecord, Study
from shared.codec import pack, unpack
from shared.config import Clinical
from shared.fusion_settings import Fusion
from shared.models import Extraction, Scale, SiteScale
from shared.moments import moments, pool_moments
from shared.radiomics_settings import Selection
from shared.site_signal import site_anova
from simulation.verification.rows import PooledRows
from tests.site_policies import made_policy

P, SIZES = 24, {"site_a": 40, "site_b": 34, "site_c": 1, "site_d": 27}
NAMES = tuple(f"f{j}" for j in range(P))


class Federation:
    """Sites in memory; every question and answer goes through the codec."""

    def __init__(self, benches):
        self.benches = benches
        self.asked = []

    def ask(self, question, request, sites, **_):
        self.asked.append(question.name)
        request = unpack(question.request, pack(request))
        answer = ANSWERS[question.name][1]
        found = {site: answer(request, self.benches[site]) for site in sorted(sites)}
        return {site: unpack(question.reply, pack(reply)) for site, reply in found.items()}


def make_up(*, sizes=SIZES, n_tune=12, shift=0.4, seed=1):
    """Tables and labels by site and split: features differ by label, and by site if shifted."""
    rng = np.random.default_rng(seed)
    found = {}
    for place, (site, n) in enumerate(sizes.items()):
        for split, count in (("train", n), ("tune", n_tune)):
            y = np.arange(count) % 2
            X = 0.6 * np.repeat(rng.normal(size=(count, P // 4)), 4, axis=1)
            X += 0.8 * rng.normal(size=(count, P)) + shift * place
            X[:, [0, 9, 17]] += 0.8 * y[:, None]
            X[rng.random(X.shape) < 0.03] = np.nan
            found[site, split] = X, y
    return found


def begin(selection, *, made=None, harmonised=False):
    """A coordinator of made-up sites, the study before the stage, and the pooled rows."""
    made = made or make_up()
    sites = tuple(sorted({site for site, _ in made}))
    settings = SimpleNamespace(
        seed=3,
        selection=Selection(**({"keep_at_least": 10, "folds": 4} | selection)),
        clinical=Clinical(predictors=("age",)),
        standardise=SimpleNamespace(clip_quantile=None),
        stability=None,
        fusion=Fusion(),
    )
    benches = {site: bench(site, made, settings) for site in sites}
    parts = {site: moments(NAMES, made[site, "train"][0]) for site in sites}
    pooled = pool_moments(list(parts.values()))
    own = {"site_b": SiteScale(pooled.mean + 0.3, 1.2 * pooled.sd)} if harmonised else {}
    ends = np.full(P, np.inf)
    scale = Scale(Extraction({}), NAMES, -ends, ends, pooled.mean, pooled.sd, own)
    coordinator = SimpleNamespace(
        settings=settings,
        federation=Federation(benches),
        training=sites,
        save=lambda study, **slots: replace(study, **slots),
    )
    coordinator.without_fold = lambda k: SimpleNamespace(
        **vars(coordinator) | {"federation": WithoutFold(coordinator.federation, k)}
    )
    record = ScaleRecord(scale, site_anova(list(parts.values())), None, None)
    study = Study(
        discretise=DiscretiseRecord(scale.extraction, None),
        stability=StabilityRecord(None, None, None),
        standardise=record,
    )
    return coordinator, study, pool(made, sites, benches, settings)


def bench(site, made, settings):
    return SimpleNamespace(
        site=SimpleNamespace(
            name=site,
            policy=made_policy(release={"min_cell": 1}),
            training="train",
            tuning="tune",
            features=lambda cases, _: (NAMES, made[site, cases][0]),
            labels=lambda cases: made[site, cases][1],
        ),
        study=settings,
    )


def pool(made, sites, benches, settings):
    X, y = (np.concatenate([made[site, "train"][i] for site in sites]) for i in (0, 1))
    fold = [
        folds(made[site, "train"][1], settings.selection.folds, benches[site]) for site in sites
    ]
    where = {
        split: np.concatenate([np.full(len(made[site, split][1]), site) for site in sites])
        for split in ("train", "tune")
    }
    tune = np.concatenate([made[site, "tune"][0] for site in sites])
    none = np.empty((len(y), 0))
    return PooledRows(
        NAMES, X, X, none, none, y, where["train"], np.concatenate(fold), tune, where["tune"]
    )
