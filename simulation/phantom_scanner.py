"""A made-up scanner: from anatomy to HU, and a reader who outlines the tumour.

HU at 120 kVp and tumour increments follow a table; iodine contrast scales with tube voltage.

References:
    Helenius et al. (2013): enhancement of bladder tumours, +37, +25 and +17 HU in the
    corticomedullary, nephrographic and excretory phase (n = 50).
    Huda et al. (2004): iodine contrast halves from 80 to 140 kVp.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage
from scipy.special import ndtr

from shared.phases import PHASES, Phase
from simulation.phantom_anatomy import Anatomy, Array, Field, build_anatomy, random_field
from simulation.phantom_patients import Patient, generator

Image = npt.NDArray[np.int16]
Mask = npt.NDArray[np.uint8]
Spacing = tuple[float, float, float]


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


def render(
    patient: Patient, phase: Phase, *, scanner: Scanner, field: Field
) -> tuple[Image, Mask, Spacing]:
    """One phase of one patient: HU (z, y, x), mask of the same shape, spacing in mm (z, y, x)."""
    anatomy = build_anatomy(patient, field)
    image = acquire(anatomy, patient, phase, scanner=scanner, field=field)
    mask = outline(anatomy, patient, scanner=scanner, field=field)
    return image, mask, output_spacing(scanner, field)


def output_spacing(scanner: Scanner, field: Field) -> Spacing:
    """The scanner's spacing in mm (z, y, x), no finer than a coarse field allows."""
    pixel = scanner.pixel_mm * field.coarsen
    return max(scanner.thickness_mm, field.spacing_mm[0]), pixel, pixel


def tissue_hu(patient: Patient, phase: Phase, scanner: Scanner) -> dict[str, float]:
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


def scene(anatomy: Anatomy, patient: Patient, phase: Phase, scanner: Scanner) -> Array:
    """HU on the patient's grid, without noise, blur or calibration error."""
    hu = {name: np.float32(value) for name, value in tissue_hu(patient, phase, scanner).items()}
    amplitude = 13 * np.exp(0.20 * patient.latents.texture) * TEXTURE_BY_PHASE[PHASES.index(phase)]
    image = hu["fat"] + anatomy.fat_hu
    image += anatomy.muscle * (hu["muscle"] - image)
    image += anatomy.bladder * (hu["wall"] - image)
    urine = _urine(patient, phase, scanner, hu["urine"], anatomy.dependent)
    image += anatomy.lumen * (urine - image)
    image += anatomy.tumour * (hu["tumour"] + np.float32(amplitude) * anatomy.texture - image)
    return image


def _urine(
    patient: Patient, phase: Phase, scanner: Scanner, plain_hu: np.float32, dependent: Array
) -> Array:
    """HU along y: excreted contrast is heavy and collects at the back of a supine patient."""
    if phase != "excretory":
        return np.full_like(dependent, plain_hu)
    rng = generator(patient.seed, patient.site, patient.index, "urine")
    factor = _iodine(phase, scanner)
    front, back = rng.uniform(*URINE_FRONT_HU) * factor, rng.uniform(*URINE_BACK_HU) * factor
    return plain_hu + np.float32(front) + np.float32(back - front) * dependent


def acquire(
    anatomy: Anatomy, patient: Patient, phase: Phase, *, scanner: Scanner, field: Field
) -> Image:
    """The scanner's image of one phase in HU: blurred, sliced, noisy, with its offset."""
    rng = generator(patient.seed, patient.site, patient.index, phase, "noise")
    image = _resample(scene(anatomy, patient, phase, scanner), scanner, field)
    image += _noise(rng, image.shape, scanner, field)
    image += np.float32(scanner.offset_hu)
    return np.clip(np.rint(image), -1024, 3071).astype(np.int16)


def outline(anatomy: Anatomy, patient: Patient, *, scanner: Scanner, field: Field) -> Mask:
    """The reader's mask: the tumour with a wavering boundary, drawn once for all phases."""
    rng = generator(patient.seed, patient.site, patient.index, "reader")
    wavering = random_field(rng, field.shape, field.spacing_mm, 6.0)
    edge = np.float32(scanner.reader_bias_mm) + np.float32(scanner.reader_sd_mm) * wavering
    distance_mm = _resample(anatomy.tumour_mm - edge, scanner, field)
    inside = distance_mm <= max(0, distance_mm.min())
    for axis in range(3):
        np.moveaxis(inside, axis, 0)[[0, -1]] = False
    pieces, _ = ndimage.label(inside)
    largest = 1 + np.argmax(np.bincount(pieces.ravel())[1:])
    return np.asarray(pieces == largest, np.uint8)


def _resample(image: Array, scanner: Scanner, field: Field) -> Array:
    """Average over slices and blur in plane, onto the scanner's grid (same centre)."""
    spacing = output_spacing(scanner, field)
    steps = zip(field.shape, field.spacing_mm, spacing, strict=True)
    widths = (None, scanner.blur_mm * field.coarsen, scanner.blur_mm * field.coarsen)
    z, y, x = (_weights(*step, width) for step, width in zip(steps, widths, strict=True))
    in_plane = y @ (image @ x.T)
    return np.asarray(np.tensordot(z, in_plane, axes=1), np.float32)


@lru_cache(maxsize=64)
def _weights(n_in: int, step_in: float, step_out: float, blur_mm: float | None) -> Array:
    """Each output sample's weights on the input: a Gaussian, or a slice if there is no blur."""
    n_out = max(1, round(n_in * step_in / step_out))
    edges = (np.arange(n_in + 1) - n_in / 2) * step_in
    middles = (np.arange(n_out) - (n_out - 1) / 2) * step_out
    away = edges[None, :] - middles[:, None]
    below = np.clip(away / step_out + 0.5, 0, 1) if blur_mm is None else ndtr(away / blur_mm)
    weights = np.diff(below, axis=1)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def _noise(
    rng: np.random.Generator, shape: tuple[int, ...], scanner: Scanner, field: Field
) -> Array:
    """Noise of sd `sigma_hu` with the scanner's in-plane spectrum, independent between slices."""
    n_z, n_y, n_x = shape
    padded = (n_z, fft.next_fast_len(n_y, real=True), fft.next_fast_len(n_x, real=True))
    spectrum = fft.rfft2(rng.standard_normal(padded, dtype=np.float32))
    spectrum *= _noise_gain(padded[1], padded[2], output_spacing(scanner, field)[1], scanner)
    return np.asarray(fft.irfft2(spectrum, s=padded[1:])[:, :n_y, :n_x], np.float32)


@lru_cache(maxsize=64)
def _noise_gain(n_y: int, n_x: int, pixel_mm: float, scanner: Scanner) -> Array:
    """Amplitude for a power spectrum k exp(-(k / fc)^2) exp(-(k / cut)^2 / 2)."""
    k = np.hypot(np.fft.fftfreq(n_y, pixel_mm)[:, None], np.fft.fftfreq(n_x, pixel_mm)[None, :])
    power = k * np.exp(-((k / scanner.noise_fc) ** 2) - 0.5 * (k / scanner.noise_cut) ** 2)
    gain = scanner.sigma_hu * np.sqrt(power / power.mean())
    return np.asarray(gain[:, : n_x // 2 + 1], np.float32)
