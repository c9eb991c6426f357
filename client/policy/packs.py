"""The packs: three sets of values, of which a policy names one and may replace single ones.

`strict` is what `client.policy.settings` has for defaults: it tells nothing of single patients and
trains no network without noise. `standard` lets networks be trained as most studies do, whose
weights carry no guarantee. `simulation` lets all leave, and is for made-up patients alone.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

from client.policy.settings import LEAST_CELL, VERSION, Pack, Policy

LOOSER: Mapping[Pack, Mapping[str, Mapping[str, Any]]] = {
    "strict": {},
    "standard": {
        "cohort": {"min_patients": 30, "min_external": 20, "min_delta": 5},
        "release": {"min_cell": 5, "min_tail": 3, "max_score_bins": 100},
        "train": {"max_rounds": 100, "max_epochs": 20, "min_steps": 3, "max_weight": 20.0},
        "dp": {"required": False, "max_epsilon": None},
    },
    "simulation": {
        "cohort": {"min_patients": 1, "min_external": 1, "min_class": 0, "min_delta": 1},
        "release": {
            "min_cell": LEAST_CELL,
            "min_tail": 1,
            "max_score_bins": 10_000,
            "external": "binned",
            "exchange": ("statistics", "statistics+dp", "scores", "embeddings+dp", "embeddings"),
            "max_dimension": 64,
            "keep_rows_days": 3650,
            "rows": ("embeddings", "scores", "labels", "radiomics_score", "clinical"),
            "rows_of": ("tune", "train"),
        },
        "train": {
            "max_rounds": 10_000,
            "min_batch": 2,
            "max_lr": 10.0,
            "max_epochs": 10_000,
            "min_steps": 1,
            "max_weight": 1e6,
            "max_growth": None,
        },
        "dp": {
            "required": False,
            "max_epsilon": None,
            "max_fusion_epsilon": None,
            "max_delta": 0.01,
        },
        "secagg": {"required": False},
    },
}
"""What a pack has in the place of a value of `strict`."""


def filled(policy: Policy) -> Policy:
    """The policy with the value of its pack for each key that its file does not name."""
    sections = {
        section: getattr(policy, section).model_copy(
            update={
                key: value
                for key, value in keys.items()
                if key not in getattr(policy, section).model_fields_set
            }
        )
        for section, keys in LOOSER[policy.pack].items()
    }
    return policy.model_copy(update=sections)


def pack_policy(pack: Pack, *, valid_until: date = date.max) -> Policy:
    """A pack as it stands, without a file.

    Args:
        valid_until: Its last day; a policy of made-up patients has none.
    """
    end = None if pack == "simulation" else valid_until
    return filled(Policy(version=VERSION, pack=pack, valid_until=end))
