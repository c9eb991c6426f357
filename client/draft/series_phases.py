"""Which series of an examination is which phase: by words, by times, or by their order alone."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from client.draft.guesses import SURE, Sure
from client.draft.phase_words import phases_after
from client.draft.series_index import Series
from client.images.dicom_series import MIN_SLICES
from shared.phases import PHASES, Phase

SAME_SCAN_S: Final = 10.0
SMALLEST_STEP_MM: Final = 0.1
CONTRAST_PHASES: Final = PHASES[1:]


@dataclass(frozen=True, slots=True)
class Reading:
    """What one series is taken for: a phase or none, how sure, and why."""

    series: Series
    phase: Phase | None
    sure: Sure
    why: str

    @property
    def rank(self) -> int:
        """0 is the surest."""
        return SURE.index(self.sure)


def refusal(series: Series) -> str:
    """Why a series cannot be a phase's axial CT at all; empty where it can."""
    refused = sum(series.refusals.values())
    if refused == series.n_slices:
        return f"is {series.refusals.most_common(1)[0][0]}"
    if refused:
        text, count = series.refusals.most_common(1)[0]
        return f"holds among its {series.n_slices} slices {count} that are {text}; take them out"
    if series.n_slices < MIN_SLICES:
        return f"has {series.n_slices} slices, fewer than {MIN_SLICES}"
    if series.low_mm > series.high_mm:
        return "does not say where its slices lie"
    if series.high_mm - series.low_mm < SMALLEST_STEP_MM * (series.n_slices - 1):
        return "has all its slices in one place: it follows the contrast, and is no phase"
    return ""


def read_phases(exam: Sequence[Series]) -> list[Reading]:
    """What each series of one examination is, none of them refused."""
    agent_is_told = any(one.has_agent for one in exam)
    shared = _shared_protocols(exam)
    readings = [_read(one, agent_is_told=agent_is_told, shared=shared) for one in exam]
    return _by_order(_by_scan(readings))


def scans(readings: Sequence[Reading]) -> list[list[Reading]]:
    """The readings by scan, in the order of time; reconstructions of one scan stand together.

    A series that does not say when it was taken stands with all others that do not.
    """
    found: list[list[Reading]] = []
    for reading in sorted(readings, key=lambda one: one.series.taken_s or -1.0):
        if found and same_scan(found[-1][-1].series, reading.series):
            found[-1].append(reading)
        else:
            found.append([reading])
    return found


def same_scan(one: Series, other: Series) -> bool:
    """Whether two series of an examination are reconstructions of one scan."""
    if one.taken_s is None or other.taken_s is None:
        return one.taken_s is other.taken_s
    return abs(one.taken_s - other.taken_s) <= SAME_SCAN_S


def _read(series: Series, *, agent_is_told: bool, shared: Collection[Phase]) -> Reading:
    said, source = series.phase_words, "description"
    if not said.phases and series.protocol_words.phase not in shared:
        said, source = series.protocol_words, "protocol"
    phase = said.phase
    words = " and ".join(f"'{word}'" for word in said.words)
    told = f"its {source} says {words}" if said.words else "its description says no phase"
    if len(said.phases) > 1:
        told += ", which are several phases"
    possible, time = _by_time(series, agent_is_told=agent_is_told)
    why = f"{told}; {time}" if time else f"{told}; its times say nothing"
    if phase is None:
        if len(possible) == 1:
            return Reading(series, possible[0], "likely", why)
        return Reading(series, None, "unsure", why)
    if not time:
        return Reading(series, phase, "likely", why)
    if phase not in possible:
        return Reading(series, phase, "unsure", f"{why}: they disagree")
    return Reading(series, phase, "certain" if len(possible) == 1 else "likely", why)


def _by_time(series: Series, *, agent_is_told: bool) -> tuple[tuple[Phase, ...], str]:
    """The phases that the delay allows, and what it is; no text where there is no time."""
    delay_s = series.delay_s
    if delay_s is not None:
        when = "before" if delay_s < 0 else "after"
        possible = phases_after(delay_s)
        between = f", between {' and '.join(possible)}" if len(possible) > 1 else ""
        nothing = ", when there is no phase" if not possible else ""
        return possible, f"it begins {abs(delay_s):.0f} s {when} the injection{between}{nothing}"
    if agent_is_told and not series.has_agent:
        return ("unenhanced",), "it names no contrast agent, others of the examination do"
    return (), ""


def _shared_protocols(exam: Sequence[Series]) -> set[Phase]:
    """Phases that the protocol names for several scans, so that it tells none of them."""
    named: dict[Phase, list[Reading]] = {}
    for one in exam:
        phase = one.protocol_words.phase
        if phase is not None:
            named.setdefault(phase, []).append(Reading(one, phase, "unsure", ""))
    return {phase for phase, found in named.items() if len(scans(found)) > 1}


def _by_scan(readings: Sequence[Reading]) -> list[Reading]:
    """Give a reconstruction that says nothing the phase of the others of its scan."""
    found: list[Reading] = []
    for scan in scans(readings):
        phases = {one.phase for one in scan if one.phase is not None and one.sure != "unsure"}
        silent = len(phases) == 1 and scan[0].series.taken_s is not None
        phase = next(iter(phases), None)
        found += [
            replace(one, phase=phase, sure="likely", why=f"{one.why}; its scan is known otherwise")
            if silent and one.phase is None
            else one
            for one in scan
        ]
    return found


def _by_order(readings: Sequence[Reading]) -> list[Reading]:
    """Give scans without words and times the phase of their place among the contrast scans.

    Only where there are as many scans as contrast phases, and every known one is in its place.
    """
    told = any(one.series.has_agent for one in readings)
    contrast = [
        one for one in readings if one.phase != "unenhanced" and (one.series.has_agent or not told)
    ]
    ordered = scans(contrast)
    timed = all(one.series.taken_s is not None for one in contrast)
    if not timed or len(ordered) != len(CONTRAST_PHASES):
        return list(readings)
    place = {
        id(one): (number, phase)
        for number, (scan, phase) in enumerate(zip(ordered, CONTRAST_PHASES, strict=True), start=1)
        for one in scan
    }
    if any(one.phase not in (None, place[id(one)][1]) for one in contrast):
        return list(readings)
    return [
        replace(
            one,
            phase=place[id(one)][1],
            why=f"{one.why}; by order alone: number {place[id(one)][0]} of the contrast scans",
        )
        if one.phase is None and id(one) in place
        else one
        for one in readings
    ]
