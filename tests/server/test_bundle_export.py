from dataclasses import replace

import numpy as np
import pytest

import trifed
from server.bundle_export import export_bundle
from shared.bundle_file import parse, read_bundle, render
from shared.errors import BundleError, StateError
from shared.networks import Weights
from shared.weight_files import MAX_BYTES


@pytest.fixture(scope="module")
def exported(finished_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "tiny.bundle"
    export_bundle(finished_run.out, path)
    return path


def test_the_file_holds_the_bundle_that_the_run_froze(finished_run, exported):
    found = read_bundle(exported)
    assert found.bundle.hash() == finished_run.results["study"]["bundle_hash"]
    assert found.maker.code_hash == finished_run.results["code_hash"]
    assert found.maker.synthetic
    assert exported.stat().st_size < MAX_BYTES


def test_exporting_again_gives_the_same_bytes(finished_run, exported, tmp_path):
    export_bundle(finished_run.out, tmp_path / "again.bundle")
    assert (tmp_path / "again.bundle").read_bytes() == exported.read_bytes()


def test_one_changed_weight_is_refused(exported):
    found = read_bundle(exported)
    name, weights = next(iter(found.weights.items()))
    vector = weights.vector.copy()
    vector[7] = np.nextafter(vector[7], np.float32(1))
    other = replace(found, weights=found.weights | {name: Weights(weights.layout, vector)})
    with pytest.raises(BundleError, match=f"weights of {name} are not those of the models"):
        parse(render(other))


def test_a_folder_without_a_finished_run_has_no_bundle(tmp_path):
    with pytest.raises(StateError, match="no finished run"):
        export_bundle(tmp_path, tmp_path / "x.bundle")
    assert not list(tmp_path.iterdir())


def test_the_command_shows_hash_models_and_that_the_patients_were_made_up(
    finished_run, exported, capsys
):
    assert trifed.main(["bundle", "show", str(exported)]) == 0
    told = capsys.readouterr().out
    assert f"bundle {finished_run.results['study']['bundle_hash']}" in told
    assert "synthetic data" in told
    for model, value in finished_run.results["models"].items():
        assert f"{model} {value['internal_test']['threshold']:g}" in told
