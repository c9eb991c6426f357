"""A made-up acquisition: a patient's anatomy seen by a scanner, and outlined by a reader.

Images are int16 HU and masks uint8, both (z, y, x) on the scanner's grid, which has the centre of
the patient's.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage
from scipy.special import ndtr

from shared.phases import Phase
from simulation.phantom_anatomy import Anatomy, build_anatomy
from simulation.phantom_geometry import Array, Field, random_field
from simulation.phantom_patients import Patient, generator
from simulation.phantom_scanner import Scanner, scene

Image = npt.NDArray[np.int16]
Mask = npt.NDArray[np.uint8]
Spacing = tuple[float, float, float]


def render(
    patient: Patient, phase: Phase, *, scanner: Scanner, field: Field
) -> tuple[Image, Mask, Spacing]:
    """One phase of one patient: HU (z, y, x), mask of the same shape, spacing in mm (z, y, x)."""
    anatomy = build_anatomy(patient, field)
    image = acquire(anatomy, patient, phase=phase, scanner=scanner, field=field)
    mask = outline(anatomy, patient, scanner=scanner, field=field)
    return image, mask, output_spacing(scanner, field)


def output_spacing(scanner: Scanner, field: Field) -> Spacing:
    """The scanner's spacing in mm (z, y, x), no finer than a coarse field allows."""
    pixel = scanner.pixel_mm * field.coarsen
    return max(scanner.thickness_mm, field.spacing_mm[0]), pixel, pixel


def acquire(
    anatomy: Anatomy, patient: Patient, *, phase: Phase, scanner: Scanner, field: Field
) -> Image:
    """The scanner's image of one phase in HU: blurred, sliced, noisy, with its offset."""
    rng = generator(patient.seed, patient.site, patient.index, phase, "noise")
    image = _resample(
        scene(anatomy, patient, phase=phase, scanner=scanner), scanner=scanner, field=field
    )
    pixel_mm = output_spacing(scanner, field)[2]
    image += _noise(rng, image.shape, scanner=scanner, pixel_mm=pixel_mm)
    image += np.float32(scanner.offset_hu)
    return np.clip(np.rint(image), -1024, 3071).astype(np.int16)


def outline(anatomy: Anatomy, patient: Patient, *, scanner: Scanner, field: Field) -> Mask:
    """The reader's mask: the tumour with a wavering boundary, drawn once for all phases."""
    rng = generator(patient.seed, patient.site, patient.index, "reader")
    wavering = random_field(rng, field, length_mm=6.0)
    edge = np.float32(scanner.reader_bias_mm) + np.float32(scanner.reader_sd_mm) * wavering
    distance_mm = _resample(anatomy.tumour_mm - edge, scanner=scanner, field=field)
    inside = distance_mm <= max(0, distance_mm.min())
    for axis in range(3):
        np.moveaxis(inside, axis, 0)[[0, -1]] = False
    pieces, _ = ndimage.label(inside)
    largest = 1 + np.argmax(np.bincount(pieces.ravel())[1:])
    return np.asarray(pieces == largest, np.uint8)


def _resample(image: Array, *, scanner: Scanner, field: Field) -> Array:
    """Average over slices and blur in plane, onto the scanner's grid (same centre)."""
    blur_mm = scanner.blur_mm * field.coarsen
    spacing = output_spacing(scanner, field)
    z, y, x = (
        _weights(n, step_in, step_out=step_out, blur_mm=blur)
        for n, step_in, step_out, blur in zip(
            field.shape, field.spacing_mm, spacing, (None, blur_mm, blur_mm), strict=True
        )
    )
    return np.asarray(np.tensordot(z, y @ (image @ x.T), axes=1), np.float32)


@lru_cache(maxsize=64)
def _weights(n_in: int, step_in: float, *, step_out: float, blur_mm: float | None) -> Array:
    """Each output sample's weights on the input: a Gaussian, or a slice if there is no blur."""
    n_out = max(1, round(n_in * step_in / step_out))
    edges = (np.arange(n_in + 1) - n_in / 2) * step_in
    middles = (np.arange(n_out) - (n_out - 1) / 2) * step_out
    away = edges[None, :] - middles[:, None]
    below = np.clip(away / step_out + 0.5, 0, 1) if blur_mm is None else ndtr(away / blur_mm)
    weights = np.diff(below, axis=1)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def _noise(
    rng: np.random.Generator, shape: tuple[int, ...], *, scanner: Scanner, pixel_mm: float
) -> Array:
    """Noise of sd `sigma_hu` with the scanner's in-plane spectrum, independent between slices."""
    n_z, n_y, n_x = shape
    padded = (n_z, fft.next_fast_len(n_y, real=True), fft.next_fast_len(n_x, real=True))
    spectrum = fft.rfft2(rng.standard_normal(padded, dtype=np.float32))
    spectrum *= _noise_gain(*padded[1:], pixel_mm=pixel_mm, scanner=scanner)
    return np.asarray(fft.irfft2(spectrum, s=padded[1:])[:, :n_y, :n_x], np.float32)


@lru_cache(maxsize=64)
def _noise_gain(n_y: int, n_x: int, *, pixel_mm: float, scanner: Scanner) -> Array:
    """Amplitude for a power spectrum k exp(-(k / fc)^2) exp(-(k / cut)^2 / 2)."""
    k = np.hypot(np.fft.fftfreq(n_y, pixel_mm)[:, None], np.fft.fftfreq(n_x, pixel_mm)[None, :])
    power = k * np.exp(-((k / scanner.noise_fc) ** 2) - 0.5 * (k / scanner.noise_cut) ** 2)
    gain = scanner.sigma_hu * np.sqrt(power / power.mean())
    return np.asarray(gain[:, : n_x // 2 + 1], np.float32)
