"""The CT contrast phases, and the names that hospitals give them."""

from typing import Literal, get_args

Phase = Literal["unenhanced", "corticomedullary", "nephrographic", "excretory"]
PHASES: tuple[Phase, ...] = get_args(Phase)

ALIASES: dict[str, Phase] = {
    "plain": "unenhanced",
    "native": "unenhanced",
    "non-contrast": "unenhanced",
    "arterial": "corticomedullary",
    "early": "corticomedullary",
    "venous": "nephrographic",
    "portal": "nephrographic",
    "portal venous": "nephrographic",
    "delayed": "excretory",
    "late": "excretory",
    "urographic": "excretory",
}


def phase_named(text: str) -> Phase | None:
    """The phase a hospital's word stands for, or None where the word is not known."""
    word = " ".join(text.strip().lower().replace("_", " ").split())
    for phase in PHASES:
        if word == phase:
            return phase
    return ALIASES.get(word)
