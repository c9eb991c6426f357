"""What an objection removes, and what it says of where a patient took part."""

import json

import pytest

import trifed
from client.cache import Cache
from client.objections.forget import forget, removal_lines
from client.objections.kept import Kept
from client.objections.listed import NAME, read_objections
from client.objections.local_key import LocalKey
from client.objections.took_part import KEY, TookPart
from client.objections.took_part import NAME as TABLE
from client.serve import objections_as_they_are
from client.site import open_site
from shared.errors import CohortError, StateError

RUN, STUDY_HASH = "0a" * 16, "5" * 64


@pytest.fixture
def took_part(tmp_path):
    return TookPart(tmp_path, tmp_path / "cache")


def note(took_part, *patients, run=RUN):
    took_part.note(patients, what="run", name=run, study=STUDY_HASH)


def entries(folder):
    return sorted(path.name for path in (folder / "cache").glob("??/*.npy"))


def test_the_entries_of_who_objects_go_and_the_others_stay(tmp_path, make_site, study):
    site_file = make_site(tmp_path, split=True)
    site = open_site(site_file, study)
    site.prepare()
    before = entries(tmp_path)
    (tmp_path / NAME).write_text("patient_id\nP004\n")
    objections = read_objections(tmp_path)
    found = forget(objections, folder=tmp_path, cache=tmp_path / "cache")
    (one,) = found.patients
    assert one.n_entries == len(before) // 8 > 0
    assert len(entries(tmp_path)) == len(before) - one.n_entries
    assert found.n_strays == 0
    again = forget(objections, folder=tmp_path, cache=tmp_path / "cache")
    assert (again.patients[0].n_entries, again.n_outputs) == (0, 0)
    open_site(site_file, study).prepare()
    assert len(entries(tmp_path)) == len(before) - one.n_entries


def test_entries_of_which_nobody_knows_whose_they_are_go_too(tmp_path):
    cache, kept = Cache(tmp_path / "cache"), Kept(tmp_path / "cache")
    kept.note("P001", {"ab" * 32})
    for key in ("ab" * 32, "cd" * 32):
        cache.put(key, [1.0])
    (tmp_path / "cache" / "outputs").mkdir()
    (tmp_path / "cache" / "outputs" / "x.npz").write_bytes(b"rows of all")
    answers = tmp_path / "cache" / "answers"
    for run in (RUN, "0b" * 16):
        (answers / run).mkdir(parents=True)
    note(TookPart(tmp_path, tmp_path / "cache"), "P002")
    (tmp_path / NAME).write_text("patient_id\nP002\n")
    objections = read_objections(tmp_path)
    found = forget(objections, folder=tmp_path, cache=tmp_path / "cache")
    assert (found.n_strays, found.n_outputs, found.runs) == (1, 1, (RUN,))
    assert entries(tmp_path) == [f"{'ab' * 32}.npy"]
    assert [path.name for path in answers.iterdir()] == ["0b" * 16]


def test_each_run_that_a_patient_took_part_in_is_listed_and_no_other(took_part):
    note(took_part, "P001", "P002")
    note(took_part, "P002", "P001")
    note(took_part, "P002", run="0b" * 16)
    took_part.note(["P001"], what="bundle", name="9" * 64, study="")
    found = took_part.of(["p001", "P002", "P003"])
    assert [(part.what, part.name) for part in found["p001"]] == [
        ("run", RUN),
        ("bundle", "9" * 64),
    ]
    assert [part.name for part in found["P002"]] == [RUN, "0b" * 16]
    assert found["P003"] == []


def test_the_table_names_nobody_and_is_its_owners_alone(took_part, tmp_path):
    note(took_part, "DOE-JOHN", "P002")
    for name in (TABLE, KEY, f"cache/{TABLE}"):
        path = tmp_path / name
        assert path.stat().st_mode & 0o777 == 0o600
        assert "DOE" not in path.read_text()
    other = TookPart(tmp_path / "b", tmp_path / "b" / "cache")
    (tmp_path / "b").mkdir()
    note(other, "DOE-JOHN", "P002")
    tags = [
        set(json.loads((folder / TABLE).read_text())["entries"][0]["cohort"]["patients"])
        for folder in (tmp_path, tmp_path / "b")
    ]
    assert not tags[0] & tags[1]


def test_without_its_key_the_table_says_so_instead_of_nobody(took_part, tmp_path):
    note(took_part, "P001")
    (tmp_path / KEY).unlink()
    with pytest.raises(StateError, match="is gone"):
        took_part.of(["P001"])
    (tmp_path / KEY).write_text("12")
    with pytest.raises(StateError, match="damaged"):
        took_part.of(["P001"])


def test_a_key_is_made_once(tmp_path):
    first = LocalKey(tmp_path / "key").tags("P001", " p001")
    assert first == LocalKey(tmp_path / "key").tags("P001", "P001")
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_service_that_read_another_list_answers_nothing_more(tmp_path):
    check = objections_as_they_are(tmp_path)
    check()
    (tmp_path / NAME).write_text("patient_id\nP001\n")
    with pytest.raises(CohortError, match="trifed site objections"):
        check()
    objections_as_they_are(tmp_path)()


def test_the_command_lists_runs_and_removes(tmp_path, make_site, study, capsys):
    site_file = make_site(tmp_path, split=True)
    open_site(site_file, study).prepare()
    note(TookPart(tmp_path, tmp_path / "cache"), "P001")
    (tmp_path / NAME).write_text("patient_id\nP001\nP002\n")
    assert trifed.main(["site", "objections", str(site_file)]) == 0
    told = capsys.readouterr().out
    assert f"run {RUN} of study {STUDY_HASH[:16]}" in told
    assert "P002: took part in nothing; " in told
    assert "Nothing was sent" in told


def test_what_was_removed_is_told_in_words(took_part, tmp_path):
    note(took_part, "P001")
    (tmp_path / NAME).write_text("patient_id\nP001\n")
    found = forget(read_objections(tmp_path), folder=tmp_path, cache=tmp_path / "cache")
    first, second = removal_lines(found)
    assert first == "P001: took part in 1; 0 entries removed from the cache"
    assert second.startswith(f"    run {RUN} of study")
