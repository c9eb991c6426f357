"""One value of a contract as a text file with a signature over all of it.

JSON with three keys: which kind of file it is, the content, and the signature in hexadecimal. What
is signed is the content as it was read, written again in one way; so blanks and line ends may
change on the file's way, and nothing else may.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from shared.codec import Packed, pack, unpack
from shared.errors import CodecError, InvitationError
from shared.files import read_at_most

T = TypeVar("T")
VERSION = 1
MAX_BYTES = 3_000_000
MAX_SIGNATURE = 512


@dataclass(frozen=True, slots=True)
class Signed(Generic[T]):
    """A value whose signature is still to be checked, and what must have been signed."""

    value: T
    message: bytes
    signature: bytes


def render_signed(what: str, value: object, sign: Callable[[bytes], bytes]) -> bytes:
    """The file's content; `sign` makes the signature of a message."""
    text = pack(value).text
    body = {
        "file": f"trifed {what}",
        "content": json.loads(text),
        "signature": sign(_message(what, text)).hex(),
    }
    return json.dumps(body, indent=1, ensure_ascii=False).encode() + b"\n"


def read_signed(path: Path, what: str, kind: type[T]) -> Signed[T]:
    """Read such a file; the signature is for the caller to check.

    Raises:
        InvitationError: If it cannot be read, is too large, of another kind or version, or has not
            the fields that the contract gives it.
    """
    data = read_at_most(path, MAX_BYTES, f"an {what}", InvitationError)
    try:
        return parse_signed(data, what, kind)
    except InvitationError as error:
        raise InvitationError(f"{path}: {error}") from None


def parse_signed(data: bytes, what: str, kind: type[T]) -> Signed[T]:
    """See `read_signed`; the text of its errors does not name the file."""
    try:
        body = json.loads(data.decode())
        content = json.dumps(body["content"], ensure_ascii=False)
        signature = bytes.fromhex(body["signature"])
        is_ours = set(body) == {"file", "content", "signature"}
        found, version = body["file"], body["content"]["version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InvitationError(damaged(what, "not the JSON that trifed writes")) from None
    if not is_ours or found != f"trifed {what}":
        raise InvitationError(damaged(what, f"it is not a 'trifed {what}'"))
    if type(version) is int and version != VERSION:
        raise InvitationError(
            f"is an {what} of form {version}, and this release of trifed reads form {VERSION}. "
            "Both sides must install the same release."
        )
    try:
        value = unpack(kind, Packed(content, {}))
    except CodecError as error:
        raise InvitationError(damaged(what, str(error))) from None
    if not 0 < len(signature) <= MAX_SIGNATURE:
        raise InvitationError(damaged(what, "it has no signature"))
    return Signed(value, _message(what, pack(value).text), signature)


def damaged(what: str, why: str) -> str:
    """Words for a file that is not what its sender wrote."""
    return f"is damaged, or no {what} of trifed ({why}). Ask its sender for it again."


def _message(what: str, text: str) -> bytes:
    """What is signed: the kind of file before the content, so that none passes as another."""
    return f"trifed {what}\n{text}".encode()
