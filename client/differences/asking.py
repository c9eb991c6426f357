"""Which run a question is of, for whoever is asked it; nobody's where no ledger is kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_asking: ContextVar[str] = ContextVar("run", default="")


@contextmanager
def asked_by(run: str) -> Iterator[None]:
    """Say in this thread whose question is answered meanwhile."""
    before = _asking.set(run)
    try:
        yield
    finally:
        _asking.reset(before)


def run_that_asks() -> str:
    """The run; empty where nothing is noted of it, and a service answers one run."""
    return _asking.get()
