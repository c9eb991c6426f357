import hashlib
import os

import pytest
import torch

from shared import weight_files
from shared.branches import InitialWeights
from shared.errors import ConfigError
from shared.weight_files import read_tensors
from tests.published_weights import saved


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def settings(path, file_format="torchvision", **changed):
    found = {"file": path, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    return InitialWeights(**found | {"format": file_format} | changed)


@pytest.fixture
def parsers(monkeypatch):
    """Every call of a parser."""
    calls = []

    def watched(module, name):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, **k: (calls.append(name), real(*a, **k))[1])

    import safetensors.torch

    watched(torch, "load")
    watched(safetensors.torch, "load")
    return calls


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.pth.tar", "w.safetensors"])
def test_tensors_are_read_as_they_were_saved(tmp_path, parsers, name):
    tensors = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(2, dtype=torch.int64)}
    saved(tmp_path / name, tensors)
    found = read_tensors(settings(tmp_path / name))
    assert parsers == ["load"]
    assert set(found) == {"a", "b"}
    torch.testing.assert_close(found["a"], tensors["a"])


@pytest.mark.parametrize("wrap", [lambda b: b, lambda b: {"a": b}], ids=["bare", "as a tensor"])
@pytest.mark.parametrize("file_format", ["torchvision", "medicalnet"])
def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path, wrap, file_format):
    exploded = tmp_path / "exploded"
    torch.save(wrap(Bomb(exploded)), tmp_path / "bomb.pth")
    with pytest.raises(ConfigError, match=r"bomb\.pth: is damaged, or holds more than tensors"):
        read_tensors(settings(tmp_path / "bomb.pth", file_format))
    assert not exploded.exists()
    torch.load(tmp_path / "bomb.pth", weights_only=False)
    assert exploded.exists()


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_file_with_another_hash_is_not_parsed(tmp_path, parsers, name):
    saved(tmp_path / name, {"a": torch.zeros(2)})
    with pytest.raises(ConfigError, match=r"SHA-256 is [0-9a-f]{64}, .*f{64}.*not opened"):
        read_tensors(settings(tmp_path / name, sha256="f" * 64))
    assert parsers == []


def test_a_missing_file_is_named(tmp_path):
    here = tmp_path / "w.pth"
    saved(here, {"a": torch.zeros(2)})
    wanted = settings(here)
    here.unlink()
    with pytest.raises(ConfigError, match=r"w\.pth: there is no such file.*nothing is ever downl"):
        read_tensors(wanted)


def test_a_folder_is_no_file(tmp_path):
    wanted = InitialWeights(file=tmp_path, format="trifed", sha256="0" * 64)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_tensors(wanted)


def test_a_file_that_is_too_large_is_not_read(tmp_path, parsers, monkeypatch):
    saved(tmp_path / "w.pth", {"a": torch.zeros(2)})
    monkeypatch.setattr(weight_files, "MAX_BYTES", 100)
    with pytest.raises(ConfigError, match="at most 100"):
        read_tensors(settings(tmp_path / "w.pth"))
    assert parsers == []


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_damaged_file_is_refused(tmp_path, name):
    saved(tmp_path / name, {"a": torch.zeros(200)})
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:300])
    with pytest.raises(ConfigError, match="is damaged"):
        read_tensors(settings(tmp_path / name))


def test_another_ending_is_refused(tmp_path):
    torch.save({"a": torch.zeros(2)}, tmp_path / "w.pkl")
    with pytest.raises(ConfigError, match=r"must end in \.safetensors, \.pth, \.pt, \.tar"):
        read_tensors(settings(tmp_path / "w.pkl"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"a": torch.zeros(2)}, "has its tensors in 'state_dict'"),
        ([torch.zeros(2)], "has its tensors in 'state_dict'"),
        ({"state_dict": {}, "surprise": 1}, "holds 'surprise' beside 'state_dict'"),
        ({"state_dict": [torch.zeros(2)]}, "must hold tensors by name, not a list"),
    ],
)
def test_what_is_not_laid_out_as_medicalnet_does_is_refused(tmp_path, content, said):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match=said):
        read_tensors(settings(tmp_path / "w.pth", "medicalnet"))


def test_what_medicalnets_training_writes_beside_the_weights_is_let_be(tmp_path):
    state = {"ecpoch": 3, "batch_id": 1, "state_dict": {"a": torch.ones(2)}, "optimizer": {}}
    torch.save(state, tmp_path / "w.pth")
    assert list(read_tensors(settings(tmp_path / "w.pth", "medicalnet"))) == ["a"]
