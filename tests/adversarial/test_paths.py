"""Paths in a manifest that leave the hospital's data: refused before a file is opened."""

import io
import shutil
import tarfile
import zipfile

import pytest

from client.site import open_site
from shared.bundle_file import read_bundle, render
from shared.errors import BundleError, ManifestError
from tests.adversarial.hospital import build, row
from tests.broken_hospitals import REFUSED, Hospital
from tests.made_bundle import bundle_without_networks


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A hospital's files; tests change copies of them."""
    return build(tmp_path_factory.mktemp("good") / "a", n=4).parent


@pytest.fixture
def folder(good, tmp_path):
    return Hospital(shutil.copytree(good, tmp_path / "hospital"))


def folder_link(folder):
    outside = folder.folder.parent / "outside"
    (folder.folder / "images").rename(outside)
    (folder.folder / "images").symlink_to(outside)


PATHS = [
    row("T37", "upwards", REFUSED["out of the root"][0]),
    row("T37", "absolute", REFUSED["absolute path"][0]),
    row("T37", "a NUL", REFUSED["NUL in a path"][0]),
    row("T37", "5000 letters", REFUSED["a name of 5000 letters"][0]),
    row("T38", "a link out of the root", REFUSED["a link out of the root"][0]),
    row("T38", "a link to itself", REFUSED["a link to itself"][0]),
    row("T38", "a folder that is a link out of the root", folder_link),
]


@pytest.mark.parametrize("spoil", PATHS)
def test_a_path_out_of_the_data_stops_the_hospital_before_it_answers(folder, study, spoil):
    spoil(folder)
    with pytest.raises(ManifestError) as refusal:
        open_site(folder.folder / "site.yaml", study, threads=1)
    assert refusal.value.code == "E_MANIFEST"
    assert not list(folder.folder.glob("release-ledger*"))


def zipped(members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def slipping(content):
    """The good bundle, and one member more whose name leads out of any folder."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return zipped(members | {"../../../slipped": b"x"})


def with_a_device(_):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        device = tarfile.TarInfo("disk")
        device.type, device.devmajor, device.devminor = tarfile.BLKTYPE, 8, 0
        archive.addfile(device)
    return stream.getvalue()


ARCHIVES = [
    row("T40", "a member out of the archive", slipping),
    row("T40", "a device in a tar", with_a_device),
    row("T40", "an archive in an archive", lambda content: zipped({"bundle": content})),
    row("T40", "a bomb of zips", lambda _: zipped({"a": zipped({"b": zipped({"c": b""})})})),
]


@pytest.mark.parametrize("spoil", ARCHIVES)
def test_an_archive_that_is_no_bundle_is_refused_and_unpacks_nothing(tmp_path, study, spoil):
    """A bundle is the only archive that the product reads, and it is read into memory alone."""
    path = tmp_path / "deep" / "er" / "bundle.trifed"
    path.parent.mkdir(parents=True)
    content = render(bundle_without_networks(study))
    path.write_bytes(content)
    read_bundle(path)
    path.write_bytes(spoil(content))
    with pytest.raises(BundleError) as refusal:
        read_bundle(path)
    assert refusal.value.code == "E_BUNDLE"
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [path]
