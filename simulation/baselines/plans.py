"""Which baselines a study has, and the settings of each: the study's own, with other sites."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from shared.config import Study
from shared.errors import ConfigError

What = Literal["alone", "pooled", "leave_one_out"]
WHATS: tuple[What, ...] = get_args(What)
POOLED = "pooled"


@dataclass(frozen=True, slots=True)
class Baseline:
    """One baseline; `site` is the one alone or left out, empty where all are pooled."""

    what: What
    site: str = ""

    @property
    def name(self) -> str:
        """Its key in the results and its folder."""
        words = {"alone": f"alone_{self.site}", "leave_one_out": f"without_{self.site}"}
        return words.get(self.what, POOLED)

    def trains(self, study: Study) -> tuple[str, ...]:
        """The study's sites whose patients train."""
        everyone = tuple(sorted(study.sites.training))
        if self.what == "alone":
            return (self.site,)
        return tuple(site for site in everyone if site != self.site)


def baselines_of(study: Study, whats: Sequence[What]) -> tuple[Baseline, ...]:
    """The baselines of these kinds, pooled first.

    Raises:
        ConfigError: If fewer than two sites train, so that each baseline is the study itself.
    """
    sites = sorted(study.sites.training)
    if len(sites) < 2:
        raise ConfigError("one site trains in this study, so there is nothing to compare it with.")
    if POOLED in {*sites, *study.sites.external}:
        raise ConfigError(f"a site is named '{POOLED}', as all sites together are; rename it.")
    found = [Baseline("pooled")] if "pooled" in whats else []
    for what in WHATS:
        if what != "pooled" and what in whats:
            found += [Baseline(what, site) for site in sites]
    return tuple(found)


def settings_of(baseline: Baseline, study: Study) -> Study:
    """The study's settings with the baseline's sites.

    What only makes sense between sites goes with them: the quorum is at most the number of sites,
    no site's share of the weight is too large, and a single site has no other to be harmonised
    with. A fusion layer that too few patients are left for is fitted all the same: what that costs
    is what the comparison shows. Made-up patients are those of the study, and no new ones.
    """
    training = (POOLED,) if baseline.what == "pooled" else baseline.trains(study)
    left_out = (baseline.site,) if baseline.what == "leave_one_out" else ()
    content: dict[str, Any] = study.model_dump(mode="json")
    content["phantom"] = None
    content["sites"] = {"training": training, "external": (*study.sites.external, *left_out)}
    content["aggregation"]["max_site_share"] = 1.0
    content["fusion"]["budget"] = "report"
    quorum = study.aggregation.quorum
    content["aggregation"]["quorum"] = None if quorum is None else min(quorum, len(training))
    if len(training) == 1:
        content["standardise"]["harmonise"] = "none"
    return Study.model_validate_json(json.dumps(content))
