"""What an external hospital told of a bundle, as a file that it may hand on.

JSON: who evaluated which bundle when and with which release, and the answer to the bit; its last
entry is the SHA-256 of all before. It has no signature: that it is the hospital's is for its sender
to say.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from shared.codec import from_text, to_text
from shared.errors import CodecError, ResultError
from shared.files import read_at_most, write_atomically
from shared.stages.external_evaluate import ExternalReply

FORMAT = 2
MAX_BYTES = 50_000_000


@dataclass(frozen=True, slots=True, eq=False)
class ExternalResult:
    """One hospital's answer to one bundle, with what it takes to know both."""

    site: str
    synthetic: bool
    study: str
    bundle_hash: str
    trifed: str
    code_hash: str
    reply: ExternalReply


def write_result(path: Path, result: ExternalResult) -> None:
    """Write a result's file: the same file for the same result."""
    write_atomically(path, render(result))


def read_result(path: Path) -> ExternalResult:
    """Read a result's file.

    Raises:
        ResultError: If there is none, it was changed, or it is of another form.
    """
    content = read_at_most(path, MAX_BYTES, "a result", ResultError)
    try:
        return parse(content)
    except ResultError as error:
        raise ResultError(f"{path}: {error}") from None


def render(result: ExternalResult) -> bytes:
    """The file's content."""
    body = json.loads(to_text(result))
    content = {
        "format": FORMAT,
        "what": "a frozen bundle of trifed on an external cohort",
        "level": result.reply.level,
        "date": result.reply.date,
        "bundle_hash": result.bundle_hash,
        "cohort_hash": result.reply.cohort,
        "looks": result.reply.looks,
        "result": body,
    }
    return _text(content | {"sha256": _sha256(content)})


def parse(content: bytes) -> ExternalResult:
    """A result from its file's content.

    Raises:
        ResultError: If it was changed, or is of another form.
    """
    again = "Ask the hospital for the file again."
    try:
        body = json.loads(content)
        form = body["format"]
        if isinstance(form, int) and form != FORMAT:
            which = "a newer" if form > FORMAT else "an older"
            raise ResultError(
                f"is a result of form {form}, of {which} release of trifed; this one reads form "
                f"{FORMAT}."
            )
        found = body.pop("sha256")
        if found != _sha256(body):
            raise ResultError(f"was changed after it was written, or is damaged. {again}")
        result = from_text(ExternalResult, json.dumps(body["result"], ensure_ascii=False))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ResultError(f"is no result of 'trifed evaluate', or is damaged. {again}") from None
    except CodecError as error:
        raise ResultError(f"does not hold what a result must ({error}). {again}") from None
    if render(result) != content:
        raise ResultError(f"is not as trifed writes it, to the byte. {again}")
    return result


def _text(content: object) -> bytes:
    return json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n"


def _sha256(content: object) -> str:
    return hashlib.sha256(_text(content)).hexdigest()
