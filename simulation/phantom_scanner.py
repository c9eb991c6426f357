"""Made-up scanners, and the HU that tissues have in each phase.

HU at 120 kVp and tumour increments follow a table; iodine contrast scales with tube voltage.

References:
    Helenius et al. (2013): enhancement of bladder tumours, +37, +25 and +17 HU in the
    corticomedullary, nephrographic and excretory phase (n = 50).
    Huda et al. (2004): iodine contrast halves from 80 to 140 kVp.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from shared.phases import PHASES, Phase
from simulation.phantom_anatomy import Anatomy
from simulation.phantom_geometry import Array
from simulation.phantom_patients import Patient, generator


@dataclass(frozen=True, slots=True)
class Scanner:
    """How a site's images look.

    `delays_s` are seconds after injection for the contrast phases; `noise_fc` and
    `noise_cut` are the noise spectrum's corner and extra low-pass in cycles per mm.
    """

    kvp: float
    pixel_mm: float
    thickness_mm: float
    blur_mm: float
    sigma_hu: float
    noise_fc: float
    noise_cut: float
    offset_hu: float
    delays_s: tuple[float, float, float]
    reader_sd_mm: float
    reader_bias_mm: float


SCANNERS: Final = {
    "a": Scanner(120, 0.75, 2, 0.50, 12, 0.30, np.inf, 0, (30, 70, 300), 0.7, 0.0),
    "b": Scanner(100, 0.78, 4, 0.65, 11, 0.20, 0.2, -2, (30, 70, 300), 0.7, 0.2),
    "c": Scanner(120, 0.80, 3, 0.50, 13, 0.30, np.inf, 1, (31, 72, 330), 0.7, 0.1),
    "d": Scanner(120, 0.85, 4, 0.40, 14, 0.33, np.inf, 3, (33, 75, 420), 0.9, 0.4),
}


@dataclass(frozen=True, slots=True)
class Tissue:
    """Mean HU at 120 kVp by phase in the order of `PHASES`, and sd between patients."""

    hu: tuple[float, float, float, float]
    sd: float


TISSUES: Final = {
    "fat": Tissue((-100, -100, -98, -98), 8),
    "muscle": Tissue((52, 56, 63, 60), 5),
    "wall": Tissue((32, 45, 65, 55), 4),
    "urine": Tissue((5, 5, 8, 8), 4),
    "tumour": Tissue((35, 72, 60, 52), 4),
}
IDEAL_DELAYS_S: Final = (30.0, 70.0, 300.0)
DELAY_SCALES_S: Final = (60.0, 120.0, 1500.0)
ENHANCEMENT_GAIN_HU: Final = (0.0, 10.0, 4.0, 2.0)
ENHANCEMENT_SD_HU: Final = (0.0, 7.0, 6.0, 5.0)
TEXTURE_BY_PHASE: Final = (0.8, 1.15, 1.0, 0.8)
URINE_FRONT_HU: Final = (30.0, 150.0)
URINE_BACK_HU: Final = (350.0, 600.0)


def tissue_hu(patient: Patient, phase: Phase, *, scanner: Scanner) -> dict[str, float]:
    """Mean HU of each tissue in this patient and phase; urine without excreted contrast."""
    rng = generator(patient.seed, patient.site, patient.index, "contrast")
    shifts = rng.normal(0, [tissue.sd for tissue in TISSUES.values()])
    noise = rng.normal(0, ENHANCEMENT_SD_HU)
    factor = np.exp(rng.normal(0, 0.10)) * _iodine(phase, scanner)
    index = PHASES.index(phase)
    found = {}
    for (name, tissue), shift in zip(TISSUES.items(), shifts, strict=True):
        gain = tissue.hu[index] - tissue.hu[0]
        if name == "tumour":
            gain += ENHANCEMENT_GAIN_HU[index] * patient.latents.enhancement + noise[index]
        found[name] = float(tissue.hu[0] + shift + factor * gain)
    return found


def _iodine(phase: Phase, scanner: Scanner) -> float:
    """Iodine contrast relative to 120 kVp at the ideal delay (tube voltage: Huda 2004)."""
    voltage = (120 / scanner.kvp) ** 1.31
    if phase == "unenhanced":
        return float(voltage)
    index = PHASES.index(phase) - 1
    late = abs(scanner.delays_s[index] - IDEAL_DELAYS_S[index])
    return float(voltage * np.exp(-late / DELAY_SCALES_S[index]))


def scene(anatomy: Anatomy, patient: Patient, *, phase: Phase, scanner: Scanner) -> Array:
    """HU on the patient's grid, without noise, blur or calibration error."""
    hu = {
        name: np.float32(value)
        for name, value in tissue_hu(patient, phase, scanner=scanner).items()
    }
    amplitude = 13 * np.exp(0.20 * patient.latents.texture) * TEXTURE_BY_PHASE[PHASES.index(phase)]
    image = hu["fat"] + anatomy.fat_hu
    image += anatomy.muscle * (hu["muscle"] - image)
    image += anatomy.bladder * (hu["wall"] - image)
    urine = hu["urine"] + _excreted(patient, phase, scanner=scanner, dependent=anatomy.dependent)
    image += anatomy.lumen * (urine - image)
    image += anatomy.tumour * (hu["tumour"] + np.float32(amplitude) * anatomy.texture - image)
    return image


def _excreted(patient: Patient, phase: Phase, *, scanner: Scanner, dependent: Array) -> Array:
    """HU that excreted contrast adds to urine: heavy, it collects at a supine patient's back."""
    if phase != "excretory":
        return np.zeros_like(dependent)
    rng = generator(patient.seed, patient.site, patient.index, "urine")
    factor = _iodine(phase, scanner)
    front, back = rng.uniform(*URINE_FRONT_HU) * factor, rng.uniform(*URINE_BACK_HU) * factor
    return np.float32(front) + np.float32(back - front) * dependent
