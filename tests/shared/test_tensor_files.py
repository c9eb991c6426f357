import numpy as np
import pytest
from safetensors.numpy import load_file

from shared.codec import DTYPES
from shared.tensor_files import CODES, write_tensors


def test_the_library_reads_every_kind_of_array_to_the_bit(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {kind: rng.integers(0, 2, (3, 5)).astype(kind) for kind in sorted(DTYPES)}
    arrays |= {"nothing": np.empty((0, 4)), "one": np.array(2.5), "ä/ö\n": np.float32([np.nan])}
    write_tensors(tmp_path / "x", arrays)
    found = load_file(tmp_path / "x")
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()


def test_arrays_that_lie_otherwise_in_memory_are_written_in_their_order(tmp_path):
    array = np.arange(12.0).reshape(3, 4)
    write_tensors(tmp_path / "x", {"turned": array.T, "part": array[:, ::2]})
    found = load_file(tmp_path / "x")
    np.testing.assert_array_equal(found["turned"], array.T)
    np.testing.assert_array_equal(found["part"], array[:, ::2])


def test_every_type_that_travels_can_be_written():
    assert set(CODES) == DTYPES


def test_no_arrays_make_an_empty_file_that_can_be_read(tmp_path):
    write_tensors(tmp_path / "x", {})
    assert load_file(tmp_path / "x") == {}


def test_a_type_of_another_kind_is_no_tensor(tmp_path):
    with pytest.raises(KeyError):
        write_tensors(tmp_path / "x", {"words": np.array(["a"])})
