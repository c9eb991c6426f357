import hashlib
import io
import json
import os
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from shared.bundle_file import FORMAT, MANIFEST, parse, read_bundle, render, write_bundle
from shared.codec import content_hash
from shared.errors import BundleError
from shared.models import FusionModel
from tests.made_bundle import bundle_without_networks


@pytest.fixture
def made(study):
    return bundle_without_networks(study)


@pytest.fixture
def content(made):
    return render(made)


def rewritten(content, edit, *, compress=zipfile.ZIP_STORED, seal=True):
    """The archive with its members edited, the manifest and the comment made to agree."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    edit(members)
    manifest = json.loads(members[MANIFEST])
    for name in manifest["members"] if seal else ():
        if name in members:
            manifest["members"][name] = hashlib.sha256(members[name]).hexdigest()
    members[MANIFEST] = json.dumps(manifest, indent=1).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compress) as archive:
        for name, member in members.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, member, compress_type=compress)
        archive.comment = hashlib.sha256(members[MANIFEST]).hexdigest().encode()
    return buffer.getvalue()


def test_a_bundle_comes_back_with_the_same_hash(tmp_path, made):
    write_bundle(tmp_path / "a.bundle", made)
    found = read_bundle(tmp_path / "a.bundle")
    assert content_hash(found.bundle) == content_hash(made.bundle)
    assert (found.study, found.maker, found.weights) == (made.study, made.maker, {})


def test_the_same_bundle_is_the_same_file_whenever_it_is_written(made, content):
    os.environ["SOURCE_DATE_EPOCH"] = "1700000000"
    try:
        assert render(made) == content
    finally:
        del os.environ["SOURCE_DATE_EPOCH"]


def test_any_program_can_list_it_and_its_sums_are_right(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        told = json.loads(archive.read(MANIFEST))["members"]
        for name in archive.namelist()[1:]:
            assert told[name] == hashlib.sha256(archive.read(name)).hexdigest()


def test_a_file_with_one_changed_byte_is_refused(content):
    chance = np.random.default_rng(20)
    places = {*range(64), *range(len(content) - 700, len(content))}
    places |= set(chance.integers(0, len(content), 600).tolist())
    for place in sorted(places):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(chance.integers(8))
        with pytest.raises(BundleError, match=r"damaged|form \d"):
            parse(bytes(damaged))


@pytest.mark.parametrize("n", [0, 1, 100, -1], ids=["empty", "a byte", "a beginning", "cut"])
def test_a_part_of_a_file_is_refused(content, n):
    with pytest.raises(BundleError, match="damaged"):
        parse(content[:n])


@pytest.mark.parametrize("extra", [b"\0", b"PK\x05\x06" + bytes(18)])
def test_a_file_with_something_behind_it_is_refused(content, extra):
    for changed in (content + extra, extra + content):
        with pytest.raises(BundleError, match="damaged"):
            parse(changed)


@pytest.mark.parametrize(("found", "word"), [(FORMAT + 1, "newer"), (FORMAT - 1, "older")])
def test_another_form_is_refused_with_the_release_to_install(content, found, word):
    def edit(members):
        manifest = json.loads(members[MANIFEST]) | {"format": found, "surprise": 1}
        members[MANIFEST] = json.dumps(manifest).encode()

    with pytest.raises(BundleError, match=rf"{word} release.*Install"):
        parse(rewritten(content, edit))


FORGERIES = {
    "a member more": lambda m: m.update({"run.py": b"print(1)"}),
    "a member less": lambda m: m.pop("study.yaml"),
    "another study": lambda m: m.update(
        {"study.yaml": m["study.yaml"].replace(b"seed: 1", b"seed: 2")}
    ),
    "an unknown setting": lambda m: m.update({"study.yaml": m["study.yaml"] + b"extra: 1\n"}),
    "a stray field": lambda m: m.update({"models.json": b'{"x":1,' + m["models.json"][1:]}),
    "no tensors": lambda m: m.update({"models.safetensors": b"\x80\x04K\x01."}),
    "another threshold": lambda m: m.update(
        {"models.json": m["models.json"].replace(b"0.431", b"0.432")}
    ),
}


@pytest.mark.parametrize("edit", FORGERIES.values(), ids=FORGERIES)
def test_a_file_whose_parts_do_not_belong_together_is_refused(content, edit):
    with pytest.raises(BundleError, match=r"Get it again|is not a setting"):
        parse(rewritten(content, edit))


def test_a_compressed_archive_is_refused_unread(content):
    packed = rewritten(content, dict.copy, compress=zipfile.ZIP_DEFLATED)
    with pytest.raises(BundleError, match="damaged"):
        parse(packed)


def bad(name, values):
    return lambda made: replace(
        made, bundle=replace(made.bundle, fusion=replace(made.bundle.fusion, **{name: values}))
    )


MISFITS = {
    "fusion.mean is not finite": bad("mean", np.array([0.0, np.nan, 66.0])),
    "fusion.sd is not above 0": bad("sd", np.array([1.0, 0.0, 1.0])),
    "fusion.coefficients must be float64": bad("coefficients", np.ones(4, np.float32)),
    r"fusion.mean must be float64 of shape \(3,\)": bad("mean", np.ones(4)),
    "columns are not those": bad("columns", ("radiomics_score", "age", "sessile")),
}


@pytest.mark.parametrize(("words", "change"), MISFITS.items(), ids=MISFITS)
def test_arrays_that_do_not_fit_are_neither_written_nor_read(tmp_path, made, words, change):
    assert isinstance(made.bundle.fusion, FusionModel)
    wrong = change(made)
    with pytest.raises(BundleError, match=words):
        write_bundle(tmp_path / "a.bundle", wrong)
    with pytest.raises(BundleError, match=words):
        parse(render(wrong))
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BundleError, match=r"nowhere\.bundle.*Check the path"):
        read_bundle(tmp_path / "nowhere.bundle")
