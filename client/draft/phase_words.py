"""What a series' words and times say about its phase: one table of words, one of delays."""

import itertools
import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from shared.phases import ALIASES, PHASES, Phase

WORDS: Final[dict[Phase, tuple[str, ...]]] = {
    "unenhanced": (
        "unenhanced", "plain", "native", "nativ", "non contrast", "noncontrast", "no contrast",
        "non enhanced", "nonenhanced", "pre contrast", "precontrast", "without", "w o", "wo",
        "ncct", "nect", "平扫", "平掃", "非增强", "增强前",
    ),
    "corticomedullary": (
        "corticomedullary", "cortico medullary", "cortical", "arterial", "art", "arteriell",
        "early arterial", "late arterial", "arterial early", "arterial late", "early", "hap",
        "动脉期", "动脉早期", "动脉晚期", "動脈期", "皮质期", "皮髓期", "皮髓质期", "皮髓交界期",
    ),
    "nephrographic": (
        "nephrographic", "nephrogram", "nephro", "parenchymal", "venous", "ven", "venos", "portal",
        "portal venous", "porto venous", "portovenous", "portal ven", "early venous", "late venous",
        "pv", "pvp", "静脉期", "靜脈期", "门静脉期", "门脉期", "门静脉", "实质期", "肾实质期",
        "肾实质",
    ),
    "excretory": (
        "excretory", "excretion", "urographic", "pyelographic", "delayed", "delay", "late",
        "late excretory", "early excretory", "delayed excretory", "spat", "延迟期", "延時期",
        "延遲期", "延迟", "排泄期", "分泌期", "肾盂期",
    ),
}  # fmt: skip
"""Words of a description, in small letters without accents; Chinese ones may stand in a word."""

VAGUE: Final = frozenset({"delayed", "delay", "late", "延迟", "延迟期"})
"""Words that mean no phase where the text itself says after how long."""

ENHANCED: Final = ("with", "w", "enhanced", "post", "ce", "cect", "增强", "增強")
"""Beside a word for unenhanced they say that the text is about the whole examination."""

LETTERS: Final[dict[str, Phase]] = {
    "N": "unenhanced", "A": "corticomedullary", "V": "nephrographic", "D": "excretory",
}  # fmt: skip
"""Capitals that stand alone, as in "Abdomen A 1.0 B30f"."""

DELAYS_S: Final[dict[Phase, tuple[float, float]]] = {
    "unenhanced": (-7200.0, 0.0),
    "corticomedullary": (20.0, 45.0),
    "nephrographic": (55.0, 120.0),
    "excretory": (180.0, 1800.0),
}
"""From the injection to the first slice; a delay between two phases leaves both possible."""

SHORTEST_STATED_S: Final = 15.0
NOT_ABDOMEN: Final = ("chest", "thorax", "lung", "head", "brain", "neck", "heart", "胸", "头", "颈")
ABDOMEN: Final = (
    "abd", "abdomen", "pelvis", "kidney", "kidneys", "bladder", "urinary", "腹", "盆", "肾", "膀胱",
    "泌尿",
)  # fmt: skip
SHARP_KERNEL: Final = re.compile(
    r"lung|bone|edge|chest|sharp|[biu][fhlr]?[5-9]\d|fc(?:3|5|8)\d|bl\d|y[a-e]\b", re.I
)
SOFT_KERNEL: Final = re.compile(r"stand|soft|std|[biu][fr]?[1-4]\d|fc(?:0|1)\d|[abc]$", re.I)
TUMOUR: Final = re.compile(
    r"(?<![a-z])(?:tumou?r|gtv|lesion|mass(?![a-z]))|肿瘤|腫瘤|病灶", re.IGNORECASE
)
CJK: Final = r"\u3400-\u9fff"
STATED: Final = re.compile(
    r"(?<![a-z0-9.])(\d+(?:\.\d+)?)\s*(?:(minutes|minute|mins|min|分钟|分)|(seconds|secs|sec|s|秒))"
    r"(?![a-z])"
)


@dataclass(frozen=True, slots=True)
class Said:
    """Which phases a text names, by which of our words, and the words that are left of it."""

    phases: tuple[Phase, ...] = ()
    words: tuple[str, ...] = ()
    rest: str = ""

    @property
    def phase(self) -> Phase | None:
        """The phase, where the text names one and no other."""
        return self.phases[0] if len(self.phases) == 1 else None


def said(text: str, *, letters: bool = True) -> Said:
    """The phases that a description names.

    Args:
        letters: Let a capital that stands alone count, if there are no words.
    """
    best = _said(text, letters=letters)
    return best if best.phases else _said(_chinese(text), letters=letters)


def phases_after(delay_s: float) -> tuple[Phase, ...]:
    """The phases possible after a delay: one, the two that it lies between, or none."""
    for phase, (first, last) in DELAYS_S.items():
        if first <= delay_s <= last and (phase != "unenhanced" or delay_s < 0):
            return (phase,)
    for before, after in itertools.pairwise(PHASES):
        if DELAYS_S[before][1] <= delay_s < DELAYS_S[after][0]:
            return (before, after)
    return ()


def looks_like_tumour(name: str) -> bool:
    """Whether a ROI's name says that it is the tumour."""
    names = (unicodedata.normalize("NFKC", name), _chinese(name))
    return any(TUMOUR.search(one) is not None for one in names)


def is_elsewhere(text: str) -> bool:
    """Whether a description names another part of the body, and not the abdomen."""
    words = f" {normal(text)} "
    return _any(words, NOT_ABDOMEN) and not _any(words, ABDOMEN)


def is_sharp(kernel: str) -> bool | None:
    """Whether a reconstruction kernel is for bone or lung; None where it is not known."""
    if SHARP_KERNEL.match(kernel.strip()):
        return True
    return False if SOFT_KERNEL.match(kernel.strip()) else None


def normal(text: str) -> str:
    """Small letters without accents, words, numbers and Chinese apart by single spaces."""
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower()
    text = re.sub(r"(?<![a-z0-9])(?:c-|-c)(?![a-z0-9])", " noncontrast ", text)
    text = re.sub(r"(?<![a-z0-9])(?:c\+|\+c)(?![a-z0-9])", " enhanced ", text)
    text = text.replace("phase", " phase ")
    text = re.sub(rf"(?<=[a-z])(?=\d)|(?<=\d)(?=[a-z])|(?<=[{CJK}])(?=[a-z\d])", " ", text)
    text = re.sub(rf"(?<=[a-z\d])(?=[{CJK}])", " ", text)
    return " ".join(re.sub(rf"[^a-z\d{CJK}]+", " ", text).split())


def _chinese(text: str) -> str:
    """GB 18030 in a file that claims Latin letters, as many exports do; else the text itself."""
    try:
        return text.encode("latin-1").decode("gb18030")
    except UnicodeError:
        return text


def _any(padded: str, words: tuple[str, ...]) -> bool:
    return any((f" {word} " if word.isascii() else word) in padded for word in words)


def _said(text: str, *, letters: bool) -> Said:
    stated, rest = _stated(unicodedata.normalize("NFKC", text))
    padded = f" {normal(rest)} "
    found: list[tuple[str, Phase]] = []
    for word, phase in _LONGEST_FIRST:
        there = f" {word} " if word.isascii() else word
        if there in padded:
            padded = padded.replace(there, " | ")
            found.append((word, phase))
    if stated:
        found = [*stated, *((w, phase) for w, phase in found if w not in VAGUE)]
    if _any(padded, ENHANCED):
        found = [(w, phase) for w, phase in found if phase != "unenhanced"]
    if not found and letters:
        found = _letter(text)
    rest = " ".join(padded.replace("|", " ").split())
    phases = tuple(dict.fromkeys(phase for _, phase in found))
    return Said(phases, tuple(word for word, _ in found), rest)


def _stated(text: str) -> tuple[list[tuple[str, Phase]], str]:
    """The delays that a text states, as "70 s" or "5 min", and the text without them."""
    found: list[tuple[str, Phase]] = []

    def take(match: re.Match[str]) -> str:
        delay_s = float(match[1]) * (60 if match[2] else 1)
        possible = phases_after(delay_s)
        if delay_s < SHORTEST_STATED_S or len(possible) != 1:
            return match[0]
        found.append((f"{delay_s:g} s", possible[0]))
        return " "

    small = STATED.sub(take, text.lower())
    return found, small if found else text


def _letter(text: str) -> list[tuple[str, Phase]]:
    """The one capital that stands alone; "C A P" is a part of the body and "3 D" a picture."""
    tokens = re.findall(r"[A-Za-z0-9.]+", text)
    alone = [
        token
        for before, token in zip(["", *tokens], tokens, strict=False)
        if token in LETTERS and not (token == "D" and before in ("2", "3"))
    ]
    if len(alone) != 1 or "P" in tokens or "C" in tokens:
        return []
    return [(alone[0], LETTERS[alone[0]])]


def _longest_first() -> list[tuple[str, Phase]]:
    pairs = {normal(word): phase for word, phase in ALIASES.items()}
    pairs |= {word: phase for phase, words in WORDS.items() for word in words}
    return sorted(pairs.items(), key=lambda pair: (-len(pair[0]), pair[0]))


_LONGEST_FIRST: Final = _longest_first()
