"""Which DICOM mask belongs to a chosen series, and which of its ROIs is the tumour."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from client.draft.guesses import SURE, Guess
from client.draft.mask_headers import MaskHeader
from client.draft.series_index import Series
from shared.phases import Phase

ELSEWHERE = "Where the slices lie elsewhere, it needs data.resample_masks: true in site.yaml"


def choose_masks(chosen: Mapping[Phase, Series], masks: Sequence[MaskHeader]) -> dict[Phase, Guess]:
    """The mask of each phase that has a series: in its frame of reference, best drawn on it."""
    return {phase: _choose(series, masks) for phase, series in chosen.items()}


def common_mask(masks: Mapping[Phase, Guess]) -> Guess | None:
    """The one mask of all phases, as sure as the least sure; None where they have several."""
    if not masks or len({(guess.path, guess.roi) for guess in masks.values()}) > 1:
        return None
    worst = max(masks.values(), key=lambda guess: SURE.index(guess.sure))
    drawn_on = [phase for phase, guess in masks.items() if guess.sure == "certain"]
    if worst.sure == "likely" and drawn_on:
        where = f"drawn on the {' and '.join(drawn_on)} series, whose frame the others share"
        return replace(worst, why=f"{where}. {ELSEWHERE}")
    return worst


def _choose(series: Series, masks: Sequence[MaskHeader]) -> Guess:
    fitting = [mask for mask in masks if series.frame and series.frame in mask.frames()]
    on_it = [mask for mask in fitting if series.uid in mask.series]
    candidates = on_it or fitting
    if not candidates:
        return Guess("missing", "no mask has the frame of reference of this series")
    named = [mask for mask in candidates if mask.tumour()[0]]
    if len(candidates) > 1 and len(named) == 1:
        candidates = named
    paths = ", ".join(str(mask.path) for mask in candidates[:5])
    if len(candidates) > 1:
        why = f"{len(candidates)} masks fit: {paths}"
        return Guess("unsure", why, candidates[0].path, True, *candidates[0].tumour())
    if on_it:
        return Guess(
            "certain", "drawn on this series", candidates[0].path, True, *candidates[0].tumour()
        )
    why = f"drawn in the frame of reference of this series, but not on it. {ELSEWHERE}"
    return Guess("likely", why, candidates[0].path, True, *candidates[0].tumour())
