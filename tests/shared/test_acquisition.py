"""What may be told of a scanner: closed lists, and counts that leave no patient alone."""

import numpy as np
import pytest

from shared.acquisition import Acquisition, Census, census, is_kernel, maker_of
from shared.codec import Packed, pack, unpack
from shared.errors import CodecError
from shared.moments import moments


def acquisition(n: int = 6) -> Acquisition:
    table = np.array([[0.75, 2.0], [0.85, 4.0]] * (n // 2))
    spacing = moments(("in_plane_mm", "slice_mm"), table)
    kernel = Census({"B30f": n}, 0)
    return Acquisition(n, spacing, Census({"120": n}, 0), Census({"Siemens": 4}, n - 4), kernel)


@pytest.mark.parametrize("seed", range(40))
def test_every_count_that_is_told_and_what_is_left_is_of_enough_images(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = [
        ["120", "100", "80", "140", ""][i] for i in rng.choice(5, 30, p=[0.6, 0.2, 0.1, 0.05, 0.05])
    ]
    told = census(values, least=5)
    assert told.n == 30
    assert all(n >= 5 for n in told.counts.values())
    assert told.rest == 0 or told.rest >= 5
    assert all(n == values.count(value) for value, n in told.counts.items())


def test_a_single_odd_patient_hides_behind_the_next_smallest_value() -> None:
    values = ["120"] * 9 + ["100"] * 5 + ["80"]
    assert census(values, least=3) == Census({"120": 9}, 6)
    assert census(["120"] * 9 + ["80"], least=3) == Census({}, 10)
    assert census(["120"] * 2, least=3) == Census({}, 2)
    assert census([], least=3) == Census({}, 0)
    assert census(["120"] * 9, least=3) == Census({"120": 9}, 0)


@pytest.mark.parametrize(
    ("text", "maker"),
    [
        ("SIEMENS", "Siemens"),
        ("Siemens Healthineers", "Siemens"),
        ("GE MEDICAL SYSTEMS", "GE"),
        ("GE", "GE"),
        ("Philips", "Philips"),
        ("TOSHIBA_MEC", "Toshiba"),
        ("Canon Medical", "Canon"),
        ("UIH", "United Imaging"),
        ("Dr Smith's scanner, P001", ""),
        ("Gerda Smith", ""),
        ("", ""),
    ],
)
def test_makers_are_known_by_how_their_names_begin(text: str, maker: str) -> None:
    assert maker_of(text) == maker


@pytest.mark.parametrize("text", ["B30f", "Br40d", "STANDARD", "FC08", "D", "YA", "B_SOFT_B"])
def test_kernels_as_makers_write_them_may_be_told(text: str) -> None:
    assert is_kernel(text)


@pytest.mark.parametrize("text", ["P001", "Smith", "B30f Smith", "B30f\n", "19400101", "b30f", ""])
def test_other_words_are_no_kernels(text: str) -> None:
    assert not is_kernel(text)


def test_an_acquisition_travels_to_the_bit() -> None:
    told = unpack(Acquisition, pack(acquisition()))
    assert (told.n_images, told.kvp, told.manufacturer) == (
        6,
        Census({"120": 6}, 0),
        Census({"Siemens": 4}, 2),
    )
    np.testing.assert_array_equal(told.spacing.m2, acquisition().spacing.m2)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"120":6', '"12000":6'),
        ('"120":6', '"120":7'),
        ('"120":6', '"120 Smith":6'),
        ('"120":6', '"120":6,"100":0'),
        ('"B30f":6', '"P001":6'),
        ('"B30f":6', '"<b>":6'),
        ('"Siemens":4', '"Dr Smith":4'),
        ('"rest":2', '"rest":-2'),
        ('"n_images":6', '"n_images":5'),
        ('"n_images":6', '"n_images":-6'),
        ('"in_plane_mm"', '"P001"'),
    ],
)  # fmt: skip
def test_the_server_refuses_what_contradicts_itself_or_is_on_no_list(old: str, new: str) -> None:
    packed = pack(acquisition())
    assert old in packed.text
    with pytest.raises(CodecError):
        unpack(Acquisition, Packed(packed.text.replace(old, new), packed.arrays))


@pytest.mark.parametrize("mean", [-1.0, 0.0, 5000.0, float("nan")])
def test_an_impossible_spacing_is_refused(mean: float) -> None:
    packed = pack(acquisition())
    changed = packed.arrays | {"spacing/mean": np.array([mean, 2.0])}
    with pytest.raises(CodecError):
        unpack(Acquisition, Packed(packed.text, changed))
