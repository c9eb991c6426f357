"""`trifed site explain`: a page for each patient, in the hospital's folder alone."""

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

import trifed
from client.explain.look import look_at
from client.explain.patients import explain_patients
from client.explain.weights import load_weights
from shared.branches import Branch3D, Branch25D, Network
from shared.config import Study, networks
from shared.errors import CohortError, ConfigError, StateError
from shared.networks import build_network, get_weights
from shared.strict_yaml import dump_settings

MakeSite = Callable[..., Path]


def write_weights(folder: Path, study: Study) -> Path:
    folder.mkdir()
    for place, network in enumerate(networks(study)):
        tensors = get_weights(build_network(network, seed=place)).tensors()
        metadata = {"trifed": network.model_dump_json()}
        save_file(tensors, folder / f"{network.name}.safetensors", metadata=metadata)
    return folder


@pytest.fixture
def weights(tmp_path: Path, study: Study) -> Path:
    return write_weights(tmp_path / "weights", study)


def pictures(page: str) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(png)))) for png in found]


def test_the_command_writes_a_page_for_each_patient_asked_for(
    tmp_path: Path, make_site: MakeSite, study: Study, weights: Path, capsys: Any
) -> None:
    site_file = make_site(tmp_path / "a", n=6, split=True)
    (tmp_path / "study.yaml").write_text(dump_settings(study))
    common = ["site", "explain", str(site_file), "--study", str(tmp_path / "study.yaml")]
    common += ["--weights", str(weights), "--threads", "1"]
    before = {path for path in tmp_path.rglob("*") if "cache" not in path.parts}
    assert trifed.main([*common, "--patient", "P001", "P003"]) == 0
    assert "2 pages; they hold patients' images and stay in the hospital" in capsys.readouterr().out
    new = {path for path in tmp_path.rglob("*") if "cache" not in path.parts} - before
    out = tmp_path / "a" / "explanations"
    assert new == {out, out / "patient-P001.html", out / "patient-P003.html"}
    page = (out / "patient-P001.html").read_text()
    assert "This page holds a patient's images; it stays in the hospital." in page
    assert (out / "patient-P001.html").stat().st_mode & 0o077 == 0
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert trifed.main([*common, "--all-test", "--out", str(out / "test")]) == 0
    names = sorted(path.name for path in (out / "test").iterdir())
    assert names == ["patient-P002.html", "patient-P005.html"]


def test_the_page_shows_each_network_with_its_probability(
    tmp_path: Path, make_site: MakeSite, study: Study, weights: Path
) -> None:
    import torch

    from client.products import Tensor
    from client.site import open_site

    site_file = make_site(tmp_path / "a", n=6)
    (path,) = explain_patients(
        site_file, study, weights, tmp_path / "a" / "out", patients=["P004"], threads=1
    )
    page = path.read_text()
    site = open_site(site_file, study, threads=1)
    for place, network in enumerate(networks(study)):
        (tensor,) = (
            array
            for patient, array in site.arrays(site.everyone, Tensor(study, network)).items()
            if patient == "P004"
        )
        module = build_network(network, seed=place).eval()
        with torch.inference_mode():
            probability = float(torch.sigmoid(module(torch.from_numpy(tensor)[None])))
        assert f"<b>{network.name}</b>: probability of HER2 2+ or 3+ {probability:.2f}" in page
    shown = pictures(page)
    assert len(shown) == 2
    coloured = [int((np.ptp(each[..., :3].astype(int), axis=-1) > 60).sum()) for each in shown]
    assert min(coloured) > 500


def test_an_external_hospital_looks_at_its_test_patients(
    tmp_path: Path, make_site: MakeSite, study: Study, weights: Path
) -> None:
    site_file = make_site(tmp_path / "d", n=4, name="site_d", role="external")
    pages = explain_patients(site_file, study, weights, tmp_path / "d" / "out", threads=1)
    assert len(pages) == 4


def test_pages_outside_the_hospitals_folder_are_refused(
    tmp_path: Path, make_site: MakeSite, study: Study, weights: Path
) -> None:
    site_file = make_site(tmp_path / "a", n=4)
    with pytest.raises(ConfigError, match="lies outside the hospital's folder"):
        explain_patients(site_file, study, weights, tmp_path / "a" / ".." / "out")
    assert not (tmp_path / "out").exists()


def test_a_strange_patient_is_named(
    tmp_path: Path, make_site: MakeSite, study: Study, weights: Path
) -> None:
    site_file = make_site(tmp_path / "a", n=4)
    with pytest.raises(CohortError, match="no usable patient 'P9'"):
        explain_patients(
            site_file, study, weights, tmp_path / "a" / "x", patients=["P9"], threads=1
        )


def test_weights_of_another_network_are_refused(study: Study, weights: Path) -> None:
    flat, solid = networks(study)
    assert load_weights(weights, flat).layout.size > 0
    with pytest.raises(StateError, match="are not those of the study's network branch_2_5d"):
        load_weights(weights, solid.model_copy(update={"name": "branch_2_5d"}))
    coarser = flat.branch.model_copy(update={"spacing_mm": (2.0, 2.0)})
    with pytest.raises(StateError, match="cut in another way"):
        load_weights(weights, flat.model_copy(update={"branch": coarser}))
    longer = flat.branch.training.model_copy(update={"rounds": 99})
    trained = flat.branch.model_copy(update={"training": longer})
    load_weights(weights, flat.model_copy(update={"branch": trained}))
    (weights / "branch_3d.safetensors").unlink()
    with pytest.raises(StateError, match="Name the folder 'weights'"):
        load_weights(weights, solid)
    (weights / "branch_3d.safetensors").write_bytes(b"no weights")
    with pytest.raises(StateError, match="cannot be read"):
        load_weights(weights, solid)


def test_the_slice_that_is_shown_is_the_middle_one_of_each_phase() -> None:
    two = ("nephrographic", "excretory")
    branch = Branch25D(name="f", kind="2.5d", size=(16, 16), slice_offsets_mm=(0.0, 4.0))
    tensor = np.arange(4.0, dtype=np.float32)[:, None, None] * np.ones((1, 16, 16), np.float32)
    heat, tumour = np.zeros((16, 16)), np.zeros((1, 16, 16), dtype=bool)
    heat[3, 4], heat[5, 5], tumour[0, 3, 4] = 0.75, 0.25, True
    look = look_at(Network(name="f", branch=branch, phases=two), 0.0, tensor, heat, tumour)
    assert look.images[:, 0, 0].tolist() == [0, 2]
    assert (look.inside, look.inside_area, look.heat[5, 5]) == (0.75, 1 / 256, 1 / 3)
    solid = Branch3D(name="s", kind="3d", size=(8, 16, 16))
    network = Network(name="s", branch=solid, phases=two)
    deep = np.zeros((2, 8, 16, 16), np.float32)
    deep[:, 4] = 1.0
    none = look_at(network, 0.0, deep, np.zeros((8, 16, 16)), np.ones((8, 16, 16), dtype=bool))
    assert none.images.min() == 1.0
    assert np.isnan(none.inside)
    assert not none.heat.any()
