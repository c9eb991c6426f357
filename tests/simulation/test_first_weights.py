"""A study that begins with weights from a file, and leaves a part of them as they are."""

import hashlib
import json
import math
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from server.progress import LoggedProgress
from shared.errors import ConfigError
from simulation.simulate import prepare_run
from tests.conftest import flat_branch
from tests.finished_runs import TINY, run_stages
from tests.published_weights import saved, torchvision_file

pytestmark = pytest.mark.slow


def written(out):
    return load_file(out / "weights" / "branch_2_5d.safetensors")


def network_results(out):
    return json.loads((out / "results.json").read_text())["branches"]["branch_2_5d"]


def resumed(out, sites):
    """Go on in a run's folder, with the study file that the run wrote."""
    run_stages(out / "study.yaml", out, sites, resume=True)


def test_a_run_goes_on_from_an_earlier_runs_weights_and_leaves_frozen_stages_alone(
    run_changed, finished_run, tmp_path
):
    earlier = tmp_path / "earlier.safetensors"
    earlier.write_bytes((finished_run.out / "weights/branch_2_5d.safetensors").read_bytes())
    sha256 = hashlib.sha256(earlier.read_bytes()).hexdigest()
    begins = {"file": "earlier.safetensors", "format": "trifed", "sha256": sha256}
    out = run_changed(branches=flat_branch(initial_weights=begins, freeze=["stem", "layer2"]))
    before, after = load_file(earlier), written(out)
    frozen = {n for n in before if n.split(".")[0] in ("conv1", "bn1", "layer2")}
    assert {n for n in before if after[n].tobytes() == before[n].tobytes()} == frozen
    found = network_results(out)
    assert found["n_frozen"] == sum(math.prod(before[n].shape) for n in frozen)
    assert found["initial_weights"] == {
        "format": "trifed",
        "sha256": sha256,
        "taken": len(before),
        "left_out": [],
        "adapted": None,
    }
    results = (out / "results.json").read_text()
    assert str(earlier) not in results
    with safe_open(out / "weights/branch_2_5d.safetensors", "np") as file:
        assert str(tmp_path) not in file.metadata()["trifed"]
    earlier.unlink()
    (out / "results.json").unlink()
    resumed(out, finished_run.hospitals)
    assert network_results(out) == found


def test_statistics_of_a_published_file_reach_every_site_and_never_change(run_changed, tmp_path):
    file = torchvision_file("resnet10")
    begins = saved(tmp_path / "resnet10.pth", file) | {"format": "torchvision"}
    begins["file"] = str(begins["file"])
    changes = {"initial_weights": begins, "norm": "frozen_batch", "freeze": ["layer1"]}
    after = written(run_changed(branches=flat_branch(**changes)))
    found = network_results(tmp_path / "changed")
    assert found["initial_weights"]["left_out"] == ["last layer (2)", "num_batches_tracked (12)"]
    assert found["initial_weights"]["adapted"] == "first convolution: 3 to 9 channels"
    assert {entry["n_cases"] for entry in found["rounds"][1:]} != {0}
    fixed = {n for n in after if "bn" in n or "downsample.1" in n or n.startswith("layer1")}
    kept = {n for n in after if after[n].tobytes() == file[n].numpy().tobytes()}
    assert kept == fixed
    assert after["layer4.0.bn2.running_var"].shape == (512,)


def test_a_wrong_file_is_found_before_anything_is_made(finished_run, tmp_path):
    (tmp_path / "w.pth").write_bytes(b"something else")
    begins = f"{{file: w.pth, format: torchvision, sha256: {'0' * 64}}}"
    text = TINY.read_text().replace("kind: 2.5d\n", f"kind: 2.5d\n    initial_weights: {begins}\n")
    study = Path(tmp_path / "study.yaml")
    study.write_text(text)
    with pytest.raises(ConfigError, match=r"w\.pth: its SHA-256 is"):
        prepare_run(
            study,
            tmp_path / "out",
            site_files=finished_run.hospitals,
            seed=None,
            threads=1,
            resume=False,
            progress=LoggedProgress(),
        )
    assert not (tmp_path / "out").exists()
