"""A policy in words: the commented file for whoever decides, and the table of what it says."""

import json
import textwrap
from datetime import date

from client.policy.keys import KEYS, said
from client.policy.packs import pack_policy
from client.policy.settings import VERSION, Pack, Policy

WIDTH = 100
NONE = "-"
HEAD = (
    "What may leave this hospital, and how its patients may be learnt from. This file belongs to "
    "whoever decides that in the hospital, its privacy officer say. The site service alone reads "
    "it, at each question: without it, after its last day, or where others than its owner can "
    "change it, nothing runs. A study that asks for more is refused before anything is computed. "
    "After a change, start the service again."
)
PACK = (
    "Which pack gives the value of a key that is left out: strict (nothing of single patients, "
    "networks only with noise), standard (networks without noise, too) or simulation (made-up "
    "patients alone). A value below that is looser than the pack's is an exception, and is named "
    "wherever the policy is shown."
)
SECTIONS = {
    "cohort": "How many patients there must be.",
    "release": "What is too few to be told of, and what may be told of single patients.",
    "train": "How networks may be trained on this hospital's patients.",
    "dp": "Differential privacy: noise in the training of networks, and how much they may show.",
    "secagg": "Secure sums: what only the total over hospitals is known of.",
    "refusals": "When a server has asked too much.",
}
LEAD = {
    "officer": "Who answers for this policy; shown with it.",
    "valid_until": "The last day on which it is in force, YYYY-MM-DD.",
}


def policy_text(pack: Pack, *, valid_until: date | None = None, officer: str = "") -> str:
    """A policy's file with each key, what it is for and what its pack has.

    Args:
        valid_until: Its last day; a policy of made-up patients has none.
    """
    policy = pack_policy(pack)
    lines = [*_comment(HEAD), "", *_comment("The form of this file; 1 is the only one.")]
    lines += [f"version: {VERSION}", *_comment(PACK), f"pack: {pack}"]
    lines += [*_comment(LEAD["officer"]), f"officer: {json.dumps(officer, ensure_ascii=False)}"]
    if pack != "simulation":
        lines += [*_comment(LEAD["valid_until"]), f"valid_until: {valid_until}"]
    for section, title in SECTIONS.items():
        lines += ["", *_comment(title), f"{section}:"]
        for key in KEYS:
            if key.name.startswith(f"{section}."):
                value = said(key.of(policy))
                lines += _comment(f"{key.sentence} Pack {pack}: {value}.", indent="  ")
                lines.append(f"  {key.name.partition('.')[2]}: {value}")
    return "\n".join(lines) + "\n"


def table_rows(policy: Policy) -> list[tuple[str, str, str]]:
    """Each key of a policy, its value, and what the pack has."""
    pack = pack_policy(policy.pack)
    until = NONE if policy.valid_until is None else str(policy.valid_until)
    rows = [
        ("pack", policy.pack, NONE),
        ("officer", policy.officer or NONE, NONE),
        ("valid_until", until, NONE),
    ]
    return rows + [(key.name, said(key.of(policy)), said(key.of(pack))) for key in KEYS]


def _comment(text: str, *, indent: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
