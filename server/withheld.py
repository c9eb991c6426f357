"""Where a site keeps a sum to itself, a fit ends in words that say what to do about it."""

from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import CohortError, WithheldError


@contextmanager
def told_in_words(what: str, remedy: str) -> Iterator[None]:
    """Turn a site's refusal into the error of a fit that cannot be done.

    Args:
        what: What all but separates the labels, as the subject of a sentence.
        remedy: What to do, as sentences.

    Raises:
        CohortError: If sites withheld what was asked.
    """
    try:
        yield
    except WithheldError as refusal:
        raise CohortError(
            f"{what} all but separates the labels of a site: so few of its patients still carry "
            f"the sums of the fit that it keeps them to itself. {remedy} ({refusal})"
        ) from refusal
