from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.config import load_study
from shared.phantom_settings import Phantom, PhantomSite
from shared.phases import PHASES
from simulation.phantom_anatomy import build_anatomy
from simulation.phantom_geometry import FIELDS
from simulation.phantom_patients import Latents, draw_patients
from simulation.phantom_scanner import SCANNERS, TISSUES, scene, tissue_hu

DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"
A, TINY = SCANNERS["a"], FIELDS["tiny"]


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


def test_every_voxel_of_a_tissue_has_that_tissues_hu(patients, anatomies):
    patient, anatomy = patients[0], anatomies[0]
    expected = tissue_hu(patient, "nephrographic", scanner=A)
    image = scene(anatomy, patient, phase="nephrographic", scanner=A)
    urine = (anatomy.lumen == 1) & (anatomy.tumour == 0)
    muscle = (anatomy.muscle == 1) & (anatomy.bladder == 0) & (anatomy.tumour == 0)
    np.testing.assert_allclose(image[urine], expected["urine"], atol=1e-3)
    np.testing.assert_allclose(image[muscle], expected["muscle"], atol=1e-3)
    assert image[anatomy.tumour == 1].mean() == pytest.approx(expected["tumour"], abs=4)


@pytest.mark.parametrize("phase", PHASES)
def test_tissues_have_the_hu_of_their_table_on_average(patients, phase):
    found = [list(tissue_hu(patient, phase, scanner=A).values()) for patient in patients]
    table = [tissue.hu[PHASES.index(phase)] for tissue in TISSUES.values()]
    np.testing.assert_allclose(np.mean(found, axis=0), table, atol=4)


def test_the_tumour_enhances_as_helenius_measured(patients):
    hu = [
        [tissue_hu(patient, phase, scanner=A)["tumour"] for phase in PHASES] for patient in patients
    ]
    gains = np.mean(hu, axis=0)[1:] - np.mean(hu, axis=0)[0]
    np.testing.assert_allclose(gains, [37, 25, 17], atol=3)


def test_iodine_contrast_halves_from_80_to_140_kvp_as_huda_measured(patients):
    def gain(kvp):
        scanner = replace(A, kvp=kvp)
        plain, early = (
            tissue_hu(patients[0], phase, scanner=scanner)["wall"] for phase in PHASES[:2]
        )
        return early - plain

    assert gain(140) / gain(80) == pytest.approx(0.48, abs=0.01)


def test_excreted_contrast_lies_at_the_back(patients, anatomies):
    image = scene(anatomies[0], patients[0], phase="excretory", scanner=A)
    urine = np.where((anatomies[0].lumen == 1) & (anatomies[0].tumour == 0), image, np.nan)
    rows = np.nanmean(urine[:, np.isfinite(urine).any(axis=(0, 2))], axis=(0, 2))
    assert np.all(np.diff(rows) > 0)
    assert rows[0] < 250 < 300 < rows[-1]
