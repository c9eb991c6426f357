"""The networks as ONNX files: the oracle is torch, and the run's own scores."""

import hashlib
import json
import re
import shutil
import socket
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import trifed
from client.device import Compute
from client.service import SiteService
from client.training import outputs
from server import bundle_onnx
from server.bundle_export import export_bundle
from server.bundle_onnx import (
    Scored,
    differences,
    export_onnx,
    made_up_input,
    refuse_different,
    write_onnx,
)
from server.onnx_card import card_of, channels_of
from shared.branches import Branch3D, Branch25D, InitialWeights, Network
from shared.bundle_file import read_bundle
from shared.config import networks
from shared.errors import BundleError, InstallError
from shared.networks import build_network, input_shape, set_weights
from tests.made_bundle import bundle_without_networks

BEGINS = InitialWeights(file=Path("x"), format="trifed", sha256="0" * 64)
FROZEN = {"norm": "frozen_batch", "initial_weights": BEGINS}
SHAPES = {
    "mean of stacks, padded shortcuts": {
        "network": "resnet18", "shortcut": "padded", "stack_offsets_mm": (-5.0, 0.0, 5.0)
    },
    "attention, mask": {
        "stack_offsets_mm": (0.0, 5.0), "pooling": "attention", "mask_channel": True
    },
    "bottlenecks, frozen BatchNorm": {"network": "resnet50", **FROZEN},
    "DenseNet": {"network": "densenet121", "size": (32, 32)},
    "3D, frozen BatchNorm, mask": {"kind": "3d", "mask_channel": True, **FROZEN},
}  # fmt: skip


def network_of(kind="2.5d", **changes):
    """A network for two phases, small unless the changes say otherwise."""
    small = {"network": "resnet10", "size": (8, 16, 16) if kind == "3d" else (16, 16)}
    branch = {"3d": Branch3D, "2.5d": Branch25D}[kind](name="net", kind=kind, **(small | changes))
    return Network(name="net", branch=branch, phases=("nephrographic", "excretory"))


def settled(network):
    """The network with weights that are far from those it begins with, ready to score."""
    module = build_network(network, seed=1).eval()
    chance = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            change = torch.randn(parameter.shape, generator=chance)
            parameter += (0.1 * change).abs() if "running_var" in name else 0.1 * change
    return Scored(module).eval()


def opened(file):
    """The file in onnxruntime, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES)
def test_onnxruntime_gives_what_torch_gives(tmp_path, changes):
    network = network_of(**changes)
    scored, file = settled(network), tmp_path / "net.onnx"
    write_onnx(file, scored, network, {})
    runtime = opened(file)
    for n in (1, 2, 5):
        batch = made_up_input(network, n, seed=7)
        embedding, logit = runtime.run(["embedding", "logit"], {"image": batch})
        with torch.inference_mode():
            expected = scored.module(torch.from_numpy(batch)).squeeze(1).numpy()
        assert embedding.shape == (n, scored(torch.from_numpy(batch[:1]))[0].shape[1])
        assert logit.shape == (n,)
        assert np.ptp(expected) > 1e-3 or n == 1
        np.testing.assert_allclose(logit, expected, rtol=1e-4, atol=1e-5)
    assert max(differences(file, scored, network).values()) < 1e-4


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    """A small network and its file."""
    network = network_of()
    scored, file = settled(network), tmp_path_factory.mktemp("right") / "net.onnx"
    write_onnx(file, scored, network, {})
    return network, scored, file


@pytest.fixture
def written(right, tmp_path):
    """The network, a copy of its file, and how to change a parameter there."""
    network, scored, kept = right
    file = tmp_path / "net.onnx"
    shutil.copy(kept, file)

    def change(name, by):
        model = onnx.load(file)
        (found,) = [part for part in model.graph.initializer if part.name.endswith(name)]
        values = onnx.numpy_helper.to_array(found)
        other = values + np.float32(by) * np.random.default_rng(0).normal(size=values.shape)
        found.CopyFrom(onnx.numpy_helper.from_array(other.astype(np.float32), found.name))
        onnx.save(model, file)

    return network, scored, file, change


@pytest.mark.parametrize(
    ("parameter", "outputs"),
    [("fc.bias", {"logit"}), ("layer4.0.conv2.weight", {"embedding", "logit"})],
)
def test_a_file_with_another_weight_is_refused(written, parameter, outputs):
    network, scored, file, change = written
    refuse_different(file, differences(file, scored, network))
    change(parameter, 0.01)
    found = differences(file, scored, network)
    assert {name for name, value in found.items() if value > 1e-4} == outputs
    with pytest.raises(InstallError, match=f"'{max(outputs)}' by .* The file was removed"):
        refuse_different(file, found)


def test_outputs_that_are_no_numbers_are_refused(written):
    network, scored, file, change = written
    change("fc.bias", np.nan)
    with pytest.raises(InstallError, match="'logit' by nan"):
        refuse_different(file, differences(file, scored, network))


def test_a_file_that_takes_only_one_number_of_patients_is_refused(written):
    network, scored, file, _ = written
    model = onnx.load(file)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(model, file)
    with pytest.raises(InstallError, match="onnxruntime cannot run the ONNX file"):
        differences(file, scored, network)


@pytest.fixture(scope="module")
def bundle_file(finished_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "tiny.bundle"
    export_bundle(finished_run.out, path)
    return path


@pytest.fixture(scope="module")
def exported(bundle_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx") / "networks"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", lambda *_: pytest.fail("asks the network"))
        found = list(export_onnx(read_bundle(bundle_file), folder))
    return folder, found


def test_the_prepared_patients_have_the_scores_of_the_run(finished_run, bundle_file, exported):
    found, (folder, _) = read_bundle(bundle_file), exported
    bench = SiteService.open(finished_run.hospitals[-1], found.study, threads=1).bench
    compute = Compute(torch.device("cpu"), None, torch.contiguous_format)
    for network in networks(found.study):
        inputs = bench.inputs(network, bench.site.external_test).tensor
        module = bench.module(network)
        set_weights(module, found.weights[network.name])
        runtime = opened(folder / f"{network.name}.onnx")
        given = runtime.run(["embedding", "logit"], {"image": inputs.numpy()})
        for value, expected in zip(given, outputs(module, inputs, compute), strict=True):
            limit = 1e-4 * np.abs(expected).max()
            assert np.ptp(expected, axis=0).max() > 100 * limit
            np.testing.assert_allclose(value, expected, rtol=0, atol=limit)


def test_the_file_and_the_text_beside_it_say_the_same(bundle_file, exported):
    found, (folder, written) = read_bundle(bundle_file), exported
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"{network.name}.{ending}"
        for network in networks(found.study)
        for ending in ("json", "onnx")
    )
    for network, told in zip(networks(found.study), written, strict=True):
        beside = json.loads((folder / f"{network.name}.json").read_text())
        assert beside.pop("sha256") == hashlib.sha256(told.file.read_bytes()).hexdigest()
        assert beside.pop("differences") == told.differences
        (inside,) = onnx.load(told.file).metadata_props
        assert json.loads(inside.value) == beside == card_of(found, network)
        assert beside["bundle_hash"] == found.bundle.hash()
        assert beside["synthetic"] is True
        assert "Research use only" in beside["use"]
        assert beside["input"]["shape"][1:] == list(input_shape(network))


def test_no_file_knows_the_machine_that_wrote_it(exported):
    _, written = exported
    here = [str(Path(bundle_onnx.__file__).parents[1]), "site-packages"]
    for told in written:
        content = told.file.read_bytes()
        assert not [text for text in here if text.encode() in content]


def test_channels_are_slices_within_phases_and_then_the_masks():
    found = channels_of(network_of(slice_offsets_mm=(-4.0, 4.0), mask_channel=True))
    told = [(part["holds"], part["phase"], part["slice_offset_mm"]) for part in found]
    image = [(p, mm) for p in ("nephrographic", "excretory") for mm in (-4.0, 4.0)]
    assert told == [(held, *place) for held in ("image", "mask") for place in image]
    assert channels_of(network_of("3d")) == [
        {"holds": "image", "phase": "nephrographic"},
        {"holds": "image", "phase": "excretory"},
    ]


def test_a_wrong_file_does_not_stay(bundle_file, tmp_path, monkeypatch, capsys):
    right = bundle_onnx.write_onnx

    def wrong(file, _, network, card):
        right(file, settled(network), network, card)

    monkeypatch.setattr(bundle_onnx, "write_onnx", wrong)
    assert trifed.main(["bundle", "onnx", str(bundle_file), "--out", str(tmp_path / "o")]) == 1
    told = capsys.readouterr().err
    assert re.search(r"E_INSTALL\n.*branch_2_5d\.onnx: .*'embedding' by .*'logit' by", told)
    assert not list((tmp_path / "o").iterdir())


def test_the_command_gives_the_same_bytes_and_prints_the_differences(
    bundle_file, exported, tmp_path, capsys
):
    assert trifed.main(["bundle", "onnx", str(bundle_file), "--out", str(tmp_path)]) == 0
    told = capsys.readouterr()
    values = re.findall(r"embedding (\S+), logit (\S+)", told.out)
    assert len(values) == 2
    assert all(float(value) < 1e-4 for pair in values for value in pair)
    assert "Research use only" in told.out
    assert told.err == ""
    for path in sorted(tmp_path.glob("*.onnx")):
        assert path.read_bytes() == (exported[0] / path.name).read_bytes()


def test_without_the_libraries_it_says_how_to_get_them(bundle_file, tmp_path, monkeypatch, capsys):
    find = bundle_onnx.importlib.util.find_spec
    monkeypatch.setattr(
        bundle_onnx.importlib.util, "find_spec", lambda name: None if "onnx" in name else find(name)
    )
    assert trifed.main(["bundle", "onnx", str(bundle_file), "--out", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert "ONNX files need onnx and onnxruntime" in told
    assert 'pip install --no-build-isolation -c constraints.txt -e ".[onnx]"' in told
    assert not list(tmp_path.iterdir())


def test_a_bundle_without_networks_is_refused(study, tmp_path):
    with pytest.raises(BundleError, match="has no networks"):
        next(export_onnx(bundle_without_networks(study), tmp_path))
