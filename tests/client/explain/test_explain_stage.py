"""The site's half of `explain`: whom it looks at, and when it tells nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.explain.heat import sums_of_heat
from client.site import open_site
from client.stages.explain import answer
from client.workbench import Workbench
from shared.config import Study, networks
from shared.errors import ConfigError
from shared.networks import build_network, get_weights
from shared.stages.explain import Request
from tests.site_policies import write_policy

MakeSite = Callable[..., Path]
Change = Callable[..., Study]
ON = {"min_cases": 3, "grid": 8}


def bench(site_file: Path, study: Study, *, least: int = 1) -> Workbench:
    write_policy(site_file, f"release: {{min_cell: {least}}}\n")
    return Workbench(open_site(site_file, study), threads=1)


def asked(study: Study, place: int = 0) -> Request:
    network = networks(study)[place]
    return Request(network.name, get_weights(build_network(network, seed=2)))


@pytest.mark.parametrize("place", [0, 1], ids=["2.5d", "3d"])
def test_the_patients_are_those_of_the_internal_test(
    tmp_path: Path, make_site: MakeSite, study: Study, change: Change, place: int
) -> None:
    """Four of twelve patients; their areas are those of their masks, read from the volumes."""
    on = change(study, explain=ON)
    work = bench(make_site(tmp_path, n=12, split=True), on)
    sums = answer(asked(on, place), work).heat
    assert sums is not None
    assert (sums.n + sums.n_without, sums.map_sum.shape) == (4, (8, 8))
    assert sums.n == 4
    radii = [5.0 + 0.3 * (index % 5) for index in (2, 5, 8, 11)]
    if place == 0:
        expected = np.mean([np.pi * radius**2 for radius in radii]) / 16**2
    else:
        expected = np.mean([4 / 3 * np.pi * radius**3 for radius in radii]) / (8 * 16 * 16 * 8)
    assert sums.moments.mean[3] == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize(
    ("least", "min_cases", "told"), [(4, 3, True), (5, 3, False), (1, 4, True), (1, 5, False)]
)
def test_of_fewer_than_the_hospital_or_the_study_allows_nothing_is_told(
    tmp_path: Path,
    make_site: MakeSite,
    study: Study,
    change: Change,
    monkeypatch: pytest.MonkeyPatch,
    least: int,
    min_cases: int,
    told: bool,
) -> None:
    on = change(study, explain=ON | {"min_cases": min_cases})
    work = bench(make_site(tmp_path, n=12, split=True), on, least=least)
    if not told:
        monkeypatch.setattr("client.stages.explain.heat_of", lambda *_: pytest.fail("computed"))
    assert (answer(asked(on), work).heat is not None) == told


def test_if_too_few_of_them_have_heat_nothing_is_told_but_of_none_it_is(
    tmp_path: Path,
    make_site: MakeSite,
    study: Study,
    change: Change,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on = change(study, explain=ON)
    work = bench(make_site(tmp_path, n=12, split=True), on)

    def with_heat(n: int) -> Any:
        def sums(maps: np.ndarray, *given: Any, **options: Any) -> Any:
            maps[n:] = 0.0
            return sums_of_heat(maps, *given, **options)

        monkeypatch.setattr("client.stages.explain.sums_of_heat", sums)
        return answer(asked(on), work).heat

    assert with_heat(2) is None
    assert with_heat(3).n == 3
    none = with_heat(0)
    assert (none.n, none.n_without) == (0, 4)


def test_a_study_that_does_not_ask_is_told_nothing(
    tmp_path: Path, make_site: MakeSite, study: Study
) -> None:
    work = bench(make_site(tmp_path, n=12, split=True), study)
    with pytest.raises(ConfigError, match="no section 'explain'"):
        answer(asked(study), work)


def test_masks_are_prepared_with_the_images_if_the_study_asks(
    tmp_path: Path,
    make_site: MakeSite,
    study: Study,
    change: Change,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on = change(study, explain=ON)
    work = bench(make_site(tmp_path, n=12, split=True), on)
    work.site.prepare()
    monkeypatch.setattr("client.prepare._work", lambda _: pytest.fail("opened again"))
    assert answer(asked(on), work).heat is not None


def test_a_patient_without_a_phase_is_left_out(
    tmp_path: Path, make_site: MakeSite, study: Study, change: Change
) -> None:
    on = change(study, explain=ON, cohort={"missing_phase": "allow"})
    site_file = make_site(tmp_path, n=12, split=True)
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("images/P002_excretory.nii.gz", ""))
    sums = answer(asked(on), bench(site_file, on)).heat
    assert sums is not None
    assert sums.n == 3


def test_a_study_without_networks_cannot_ask(study: Study, change: Change) -> None:
    with pytest.raises(ValueError, match="nothing to explain"):
        change(study, explain=ON, branches=[], fusion={"inputs": ["radiomics_score", "clinical"]})
