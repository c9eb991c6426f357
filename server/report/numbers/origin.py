"""What is known of a number by the path at which it stands in the results."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Origin:
    """What all numbers have in common whose paths fit a pattern.

    Attributes:
        pattern: Keys with dots between; ``*`` stands for any key, ``a|b`` for either.
        kind: What the number is, or its unit.
        how: How it was obtained, in one sentence. ``{0}`` is what the first ``*`` stands for, a
            word in braces one of the study's facts (`facts`).
        where: Which tables and figures show it, by name; ``#key`` is the text of a section. Those
            that a report does not have are left out.
        n: The key of the number of cases that it is of, which is looked for around it.
    """

    pattern: str
    kind: str
    how: str
    where: tuple[str, ...] = ()
    n: str = ""

    def fits(self, path: tuple[str, ...]) -> tuple[str, ...] | None:
        """What the pattern's stars stand for in a path; None where it does not fit."""
        keys = self.pattern.split(".")
        if len(keys) != len(path):
            return None
        pairs = list(zip(keys, path, strict=True))
        if not all(key == "*" or part in key.split("|") for key, part in pairs):
            return None
        return tuple(part for key, part in pairs if key == "*")


def under(prefix: str, origins: Iterable[Origin]) -> Iterator[Origin]:
    """The same origins, their paths below another."""
    return (replace(origin, pattern=f"{prefix}.{origin.pattern}") for origin in origins)
