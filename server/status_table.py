"""A run's status for a person at a terminal."""

from collections.abc import Iterator
from datetime import UTC, datetime

from rich.console import Group
from rich.table import Table
from rich.text import Text

from server.failures import told
from server.status import OVER, SiteStatus, Status

OLD_S = 60.0


def status_table(status: Status, now: datetime) -> Group:
    """The status as lines and a table of the sites."""
    head = [Text(line) for line in _head(status)]
    warning = age_warning(status, now)
    if warning:
        head.append(Text(warning, style="bold red"))
    return Group(*head, Text(), _sites(status), *(Text(line) for line in _foot(status)))


def age_warning(status: Status, now: datetime) -> str:
    """What an old file may mean; empty if it is fresh, or its run is over."""
    age = (now - _moment(status.written)).total_seconds()
    if status.phase in OVER or age < OLD_S:
        return ""
    if status.phase == "computing":
        return f"Not written for {duration(age)}: the server computes, or does not run."
    return (
        f"Not written for {duration(age)}: the server does not run, or its SuperLink does not "
        "answer it."
    )


def duration(seconds: float) -> str:
    """How long, in the two largest units."""
    minutes, hours = int(seconds) // 60, int(seconds) // 3600
    if hours >= 24:
        return f"{hours // 24} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60:02d} min"
    return f"{minutes} min {int(seconds) % 60:02d} s"


def _moment(text: str) -> datetime:
    """A time of the status; one that cannot be read is taken for long ago."""
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return datetime(1970, 1, 1, tzinfo=UTC)


def _head(status: Status) -> Iterator[str]:
    yield f"{status.study.name}, settings {status.study.hash[:12]}, run {status.run[:12]}"
    yield f"{status.phase} since {status.since}" + (f": {told(status.code)}" if status.code else "")
    if status.stage is not None:
        at = status.stage
        yield f"stage {at.name} ({at.number} of {at.n_stages}) since {at.since}"
    if status.round is not None:
        yield f"{status.round.network}, round {status.round.round}, since {status.round.since}"
    if status.question is not None and status.phase == "asking":
        asked = status.question
        yield f"asked {asked.name} since {asked.since}; {asked.needed} of {asked.asked} must answer"
    if status.waits_for:
        yield f"waiting for {', '.join(status.waits_for)}"


def _sites(status: Status) -> Table:
    table = Table("site", "role", "online", "state", "sent", "received", box=None, pad_edge=False)
    for name, site in sorted(status.sites.items()):
        there = "yes" if site.online else f"no, last {site.last_seen or 'never'}"
        moved = (_megabytes(n) for n in (site.bytes_sent, site.bytes_received))
        table.add_row(*(Text(cell) for cell in (name, site.role, there, _state(site), *moved)))
    return table


def _state(site: SiteStatus) -> str:
    if site.state == "working":
        return f"working, {site.done} of {site.total} {site.what}".rstrip() + f" ({site.since})"
    if site.state == "failed":
        return f"failed {told(site.code)} ({site.since})"
    if site.state == "absent":
        return f"absent since {site.since}"
    return "" if site.state == "idle" else f"{site.state} ({site.since})"


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB" if n_bytes else ""


def _foot(status: Status) -> Iterator[str]:
    networks = dict.fromkeys(past.network for past in status.rounds)
    if networks:
        yield "\nsites in each round, from the first one on:"
    for network in networks:
        counts = [r for r in status.rounds if r.network == network]
        yield f"  {network}: {', '.join(f'{r.answered} of {r.asked}' for r in counts)}"
    if status.errors:
        yield "\nwhat went wrong, how often, and where last:"
    for code, found in sorted(status.errors.items()):
        yield f"  {found.n} x {told(code)} ({found.site}, {found.last})"
