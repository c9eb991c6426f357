"""What `trifed study show` says of a run's folder."""

import json
import shutil

import pytest

import trifed
from server.run_state import look, state_lines
from server.stages import RUNS
from shared.errors import StateError


@pytest.fixture
def copy(finished_run, tmp_path):
    """A finished run's state and results without its patients."""
    out = tmp_path / "run"
    shutil.copytree(finished_run.out / "study", out / "study")
    for name in ("study.yaml", "results.json"):
        shutil.copy(finished_run.out / name, out / name)
    return out


def test_a_finished_run_s_stages_networks_and_results_are_told(copy, capsys):
    assert trifed.main(["study", "show", str(copy)]) == 0
    text = capsys.readouterr().out
    results = json.loads((copy / "results.json").read_text())
    for stage in RUNS:
        assert f"{stage:<18} done 20" in text
    assert "branch_3d                2 of 2 rounds, finished" in text
    assert f"{results['models']['fusion']['external_test']['auc']:.3f}" in text
    assert "synthetic data" in text
    assert "training: site_a 24, site_b 20, site_c 16 patients" in text


def test_an_interrupted_run_says_how_far_it_is(copy):
    for name in ("embed", "fuse", "evaluate", "explain", "external_evaluate"):
        (copy / "study" / f"{name}.json").unlink()
    path = copy / "study" / "train_branches.json"
    saved = json.loads(path.read_text())
    networks = saved["value"]["networks"]
    del networks["branch_3d"]
    networks["branch_2_5d"] |= {"finished": False, "best_round": 1}
    del networks["branch_2_5d"]["rounds"][2:]
    path.write_text(json.dumps(saved))
    (copy / "results.json").unlink()
    text = "\n".join(state_lines(copy))
    assert "clinical_model     done" in text
    assert " 8 train_branches     next, or going on" in text
    assert "branch_2_5d              1 of 2 rounds; best is round 1" in text
    assert "branch_3d                not begun" in text
    assert text.count("next, or going on") == 1
    assert "--resume" in text


def test_what_a_run_is_writing_stays_as_it_is(copy):
    beside = copy / "study" / ".tmp-1-embed.json"
    beside.write_text("half of it")
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    list(state_lines(copy))
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(StateError, match="holds no run"):
        look(tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_a_file_that_stays_damaged_is_an_error(copy, monkeypatch):
    monkeypatch.setattr("server.run_state.PAUSE_S", 0)
    (copy / "study" / "fuse.json").write_text("{")
    with pytest.raises(StateError, match="damaged"):
        look(copy / "study")
