"""What is worth a second look in one patient's images, from what was measured on them.

None of it excludes a patient: each finding says what was measured and what it may mean.
"""

from collections.abc import Callable

from client.check.measures import Measures, PhaseMeasures

VOLUME_ML = (1.0, 500.0)
THICK_MM = 5.0
FIELD_MM = (20.0, 700.0)
TUMOUR_HU = (0.0, 200.0)
NARROW_HU = 150.0
MOST_AIR, MOST_LOWEST = 0.9, 0.6
LEAST_ENHANCEMENT_HU = 10.0
SLACK_MM = 1e-3


def findings_of(found: Measures) -> list[str]:
    """The findings of one patient; one that several phases share names them all."""
    by_text: dict[str, list[str]] = {}
    for phase, measures in found.items():
        for judge in JUDGES:
            for text in judge(measures):
                by_text.setdefault(text, []).append(phase)
    texts = [f"{_phases(phases, found)}: {text}" for text, phases in by_text.items()]
    return texts + _between_phases(found)


def _phases(phases: list[str], found: Measures) -> str:
    return "all phases" if len(phases) == len(found) > 1 else ", ".join(phases)


def _mask(m: PhaseMeasures) -> list[str]:
    texts = []
    if m.n_parts > 1:
        sizes = ", ".join(f"{part:.2g}" for part in m.parts_ml)
        more = ", ..." if m.n_parts > len(m.parts_ml) else ""
        tiny = f", {m.n_tiny} of them below 0.1 ml" if m.n_tiny else ""
        texts.append(
            f"the mask has {m.n_parts} separate parts ({sizes}{more} ml{tiny}). Several tumours, "
            "or stray voxels?"
        )
    if not VOLUME_ML[0] <= m.volume_ml <= VOLUME_ML[1]:
        texts.append(
            f"the mask has {m.volume_ml:.2g} ml and is {m.diameter_mm:.0f} mm wide, outside "
            f"{VOLUME_ML[0]:g} to {VOLUME_ML[1]:g} ml. Is it the whole tumour, and in mm?"
        )
    if m.touches:
        texts.append(
            f"the mask reaches the volume's {' and '.join(m.touches)} edge: the tumour or the "
            "series is cut off."
        )
    if m.mask_resampled:
        texts.append("the mask was drawn on another grid and is resampled to this volume.")
    return texts


def _geometry(m: PhaseMeasures) -> list[str]:
    texts = []
    thickest = max(m.spacing_mm)
    if thickest > THICK_MM + SLACK_MM:
        texts.append(
            f"voxels are {thickest:.3g} mm apart, more than {THICK_MM:g} mm. Is there a thinner "
            "reconstruction?"
        )
    field = [n * step for n, step in zip(m.shape[1:], m.spacing_mm[1:], strict=True)]
    if min(field) < FIELD_MM[0] or max(field) > FIELD_MM[1]:
        texts.append(
            f"the field of view is {field[1]:.0f} x {field[0]:.0f} mm. Is the spacing of "
            f"{m.spacing_mm[2]:.3g} x {m.spacing_mm[1]:.3g} mm right?"
        )
    return texts


def _hu(m: PhaseMeasures) -> list[str]:
    texts = []
    if not TUMOUR_HU[0] <= m.roi_hu <= TUMOUR_HU[1]:
        like = "fat or air" if m.roi_hu < TUMOUR_HU[0] else "contrast medium or bone"
        texts.append(
            f"the mean inside the mask is {m.roi_hu:.0f} HU, like {like}, not like a tumour. Is "
            "the mask flipped, shifted or another patient's?"
        )
    width = m.range_hu[1] - m.range_hu[0]
    if width < NARROW_HU:
        texts.append(
            f"almost all values lie within {width:.0f} HU ({m.range_hu[0]:.0f} to "
            f"{m.range_hu[1]:.0f}). Was the wrong rescale slope applied?"
        )
    if m.air_share > MOST_AIR:
        texts.append(f"{m.air_share:.0%} of the volume is air. Is it the right series?")
    elif m.lowest_share > MOST_LOWEST:
        texts.append(
            f"{m.lowest_share:.0%} of the volume has one value, its lowest: padding, or a part "
            "that is missing?"
        )
    return texts


def _between_phases(found: Measures) -> list[str]:
    texts = []
    if len({m.frame for m in found.values() if m.frame}) > 1:
        texts.append(
            "the phases lie in different DICOM frames of reference. Are they one examination of "
            "one patient?"
        )
    before, after = found.get("unenhanced"), found.get("nephrographic")
    if before is not None and after is not None:
        enhancement = after.roi_hu - before.roi_hu
        if enhancement < LEAST_ENHANCEMENT_HU:
            texts.append(
                f"no contrast in the phase called nephrographic: inside the mask it is "
                f"{enhancement:+.0f} HU against the unenhanced phase. Are the phases named rightly?"
            )
    return texts


def same_grid(found: Measures) -> bool:
    """Whether all phases have one grid; an information, since each phase has its own mask."""
    grids = {
        (m.shape, *(round(v, 3) for v in (*m.spacing_mm, *m.origin_mm))) for m in found.values()
    }
    return len(grids) <= 1


JUDGES: tuple[Callable[[PhaseMeasures], list[str]], ...] = (_mask, _geometry, _hu)
