from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.config import load_study
from shared.phantom_settings import Phantom, PhantomSite
from simulation.phantom_anatomy import build_anatomy
from simulation.phantom_geometry import FIELDS
from simulation.phantom_image import acquire, outline, render
from simulation.phantom_patients import Latents, draw_patients
from simulation.phantom_scanner import SCANNERS

DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"
A, TINY, SMALL = SCANNERS["a"], FIELDS["tiny"], FIELDS["small"]


@pytest.fixture(scope="module")
def patients():
    sites = {"site_a": PhantomSite(n_cases=40, scanner="a")}
    phantom = Phantom(size="tiny", sites=sites)
    study = load_study(DEMO).model_copy(update={"phantom": phantom, "seed": 3})
    drawn = draw_patients(study, "site_a")
    return [replace(patient, latents=Latents(0, 0, 0, 0)) for patient in drawn]


@pytest.fixture(scope="module")
def anatomies(patients):
    return [build_anatomy(patient, TINY) for patient in patients]


@pytest.mark.parametrize("name", SCANNERS)
def test_noise_has_the_scanners_sd(patients, anatomies, name):
    silent = replace(SCANNERS[name], sigma_hu=1e-6)
    images = [
        acquire(anatomies[0], patients[0], phase="unenhanced", scanner=scanner, field=TINY)
        for scanner in (SCANNERS[name], silent)
    ]
    noise = images[0].astype(float) - images[1]
    assert noise.std() == pytest.approx(SCANNERS[name].sigma_hu, rel=0.05)


@pytest.mark.parametrize("name", SCANNERS)
def test_masks_lie_within_the_image_and_hold_enough_voxels(patients, anatomies, name):
    for patient, anatomy in zip(patients, anatomies, strict=True):
        mask = outline(anatomy, patient, scanner=SCANNERS[name], field=TINY)
        assert mask.sum() == mask[1:-1, 1:-1, 1:-1].sum() > 30


def test_the_mask_covers_the_tumour(patients):
    image, mask, spacing_mm = render(patients[0], "excretory", scanner=A, field=SMALL)
    assert image.shape == mask.shape == (28, 107, 107)
    assert spacing_mm == (2, 0.75, 0.75)
    radius_mm = np.cbrt(mask.sum() * np.prod(spacing_mm) * 3 / (4 * np.pi))
    assert radius_mm == pytest.approx(patients[0].radius_mm, rel=0.25)


def test_noise_of_one_phase_says_nothing_about_another(patients, anatomies):
    quiet = replace(A, sigma_hu=1e-6)
    noise = [
        acquire(anatomies[1], patients[1], phase=phase, scanner=A, field=TINY).astype(float)
        - acquire(anatomies[1], patients[1], phase=phase, scanner=quiet, field=TINY)
        for phase in ("corticomedullary", "nephrographic")
    ]
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.05
