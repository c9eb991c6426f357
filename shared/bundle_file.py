"""The bundle as one file: everything that scores a patient, sealed.

A zip archive that compresses nothing and bears no dates, so that the same bundle is the same file
to the byte and any program can list it: `manifest.json` says who made it and the SHA-256 of every
other member; `study.yaml`; `models.json`, whose arrays are in `models.safetensors`; and
`weights/<network>.safetensors`, each network's best round. The archive's comment is the manifest's
SHA-256. Nothing in it can run code.

Only the file that writing its members again gives to the byte is taken: one changed byte, wherever
it is, is refused.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from safetensors.numpy import load, save

from shared.branches import PUBLISHED
from shared.bundle_checks import check_bundle
from shared.codec import Packed, pack, unpack
from shared.config import Study, networks
from shared.errors import BundleError, CodecError, ConfigError
from shared.files import read_at_most, write_atomically
from shared.models import Bundle
from shared.networks import Layout, Weights, network_layout
from shared.strict_yaml import dump_settings, parse_settings

T = TypeVar("T")
FORMAT = 2
MAX_BYTES = 2_000_000_000
MAX_MANIFEST_BYTES = 1_000_000
MANIFEST, STUDY, MODELS, ARRAYS = "manifest.json", "study.yaml", "models.json", "models.safetensors"
FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""The date that every member bears: the first that a zip archive knows."""


@dataclass(frozen=True, slots=True)
class Maker:
    """What made a bundle: release, code and libraries; and whether its patients were made up."""

    trifed: str
    code_hash: str
    versions: dict[str, str]
    synthetic: bool


@dataclass(frozen=True, slots=True)
class Manifest:
    """The first member: the form of the file, its maker, the bundle's hash, members' SHA-256."""

    format: int
    maker: Maker
    bundle_hash: str
    members: dict[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class BundleFile:
    """A bundle with all that it takes to use it; `weights` are by network."""

    study: Study
    bundle: Bundle
    weights: dict[str, Weights]
    maker: Maker


def write_bundle(path: Path, found: BundleFile) -> None:
    """Write a bundle's file.

    Raises:
        BundleError: If its parts do not fit together, or it would be too large to be read.
    """
    check_bundle(found.bundle, found.study, found.weights)
    content = render(found)
    if len(content) > MAX_BYTES:
        raise BundleError(f"the bundle has {len(content):,} bytes, at most {MAX_BYTES:,} can be.")
    write_atomically(path, content)


def read_bundle(path: Path) -> BundleFile:
    """Read a bundle's file; nothing but what `write_bundle` writes is taken.

    Raises:
        BundleError: If there is none, it is damaged, of another form, or contradicts itself.
    """
    content = read_at_most(path, MAX_BYTES, "a bundle", BundleError)
    try:
        return parse(content)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from None


def render(found: BundleFile) -> bytes:
    """The file's content."""
    models = pack(found.bundle)
    members = {
        STUDY: dump_settings(found.study, context=PUBLISHED).encode(),
        MODELS: models.text.encode(),
        ARRAYS: _tensors(models.arrays),
    }
    for name, weights in found.weights.items():
        members[_place(name)] = _tensors(weights.tensors())
    hashes = {name: _sha256(content) for name, content in members.items()}
    manifest = Manifest(FORMAT, found.maker, found.bundle.hash(), hashes)
    text = json.dumps(json.loads(pack(manifest).text), indent=1)
    return _archive({MANIFEST: text.encode()} | members)


def parse(content: bytes) -> BundleFile:
    """A bundle from its file's content.

    Raises:
        BundleError: See `read_bundle`; the text does not name the file.
    """
    members = _members(content)
    manifest = _manifest(members.pop(MANIFEST, b""))
    if {name: _sha256(member) for name, member in members.items()} != manifest.members:
        raise BundleError(_damaged("its members are not those of the manifest"))
    study = _study(members.get(STUDY, b""))
    wanted = [STUDY, MODELS, ARRAYS, *(_place(network.name) for network in networks(study))]
    if list(members) != wanted:
        raise BundleError(_damaged(f"after the manifest must come {', '.join(wanted)}"))
    bundle = _unpacked(Bundle, Packed(_text(members[MODELS]), _arrays(members[ARRAYS], ARRAYS)))
    weights = {
        network.name: _weights(members[_place(network.name)], network.name, network_layout(network))
        for network in networks(study)
    }
    check_bundle(bundle, study, weights)
    if bundle.hash() != manifest.bundle_hash:
        raise BundleError(_damaged("the bundle's hash is not what the manifest says"))
    return BundleFile(study, bundle, weights, manifest.maker)


def _members(content: bytes) -> dict[str, bytes]:
    """The members of an archive that is, to the byte, what we would write of them."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            small = sum(entry.file_size for entry in entries) <= len(content)
            members = {e.filename: archive.read(e) for e in entries} if stored and small else {}
    except Exception as error:
        raise BundleError(_damaged(f"no archive ({type(error).__name__})")) from None
    _refuse_other_format(members.get(MANIFEST, b""))
    if not members or _archive(members) != content:
        raise BundleError(_damaged("not what trifed writes, to the byte"))
    return members


def _refuse_other_format(manifest: bytes) -> None:
    """Words for a file that another release wrote in another form, whatever else is in it."""
    try:
        found = json.loads(manifest[:MAX_MANIFEST_BYTES])["format"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    if isinstance(found, int) and found != FORMAT:
        which = "a newer" if found > FORMAT else "an older"
        raise BundleError(
            f"is a bundle of form {found}, which {which} release of trifed wrote; this one reads "
            f"form {FORMAT}. Install the release that wrote it, or export it again with this one."
        )


def _manifest(content: bytes) -> Manifest:
    if not 0 < len(content) <= MAX_MANIFEST_BYTES:
        raise BundleError(_damaged(f"{MANIFEST} is missing or too large"))
    return _unpacked(Manifest, Packed(_text(content), {}))


def _study(content: bytes) -> Study:
    try:
        return parse_settings(_text(content), Study, name=STUDY)
    except ConfigError as error:
        raise BundleError(f"its study cannot be used by this release: {error}") from None


def _unpacked(kind: type[T], packed: Packed) -> T:
    try:
        return unpack(kind, packed)
    except CodecError as error:
        raise BundleError(_damaged(str(error))) from None


def _weights(content: bytes, network: str, layout: Layout) -> Weights:
    tensors = _arrays(content, network)
    shapes = dict(zip(layout.names, layout.shapes, strict=True))
    fits = {name: array.shape for name, array in tensors.items()} == shapes
    if not fits or any(array.dtype != np.float32 for array in tensors.values()):
        raise BundleError(f"the weights of {network} are not those of the study's network.")
    return Weights(layout, np.concatenate([tensors[name].ravel() for name in layout.names]))


def _arrays(content: bytes, name: str) -> dict[str, np.ndarray]:
    try:
        return dict(load(content))
    except Exception as error:
        raise BundleError(_damaged(f"{name}: {type(error).__name__}")) from None


def _tensors(arrays: Mapping[str, np.ndarray]) -> bytes:
    return bytes(save({name: np.asarray(array, order="C") for name, array in arrays.items()}))


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise BundleError(_damaged("not text where text should be")) from None


def _archive(members: Mapping[str, bytes]) -> bytes:
    """The members as an archive, the same for the same members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name, FIRST_DAY)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, content)
        archive.comment = _sha256(members.get(MANIFEST, b"")).encode()
    return buffer.getvalue()


def _place(network: str) -> str:
    return f"weights/{network}.safetensors"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _damaged(what: str) -> str:
    return f"is damaged, or no bundle of trifed: {what}. Get it again from whoever made it."
