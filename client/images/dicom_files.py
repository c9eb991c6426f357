"""DICOM files opened safely: bounded, silent, and without a word of their content in an error."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.uid import DeflatedExplicitVRLittleEndian

from client.images.formats import FileError

MAGIC_AT, MAGIC = 128, b"DICM"
MAX_HEADER_FILE_BYTES = 1 << 30
AGAIN = "Export it again."
IGNORED = ("DICOMDIR", "Thumbs.db")
"""What lies beside slices on a disc or a desktop, and is none."""

logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
logging.getLogger("highdicom").setLevel(logging.CRITICAL + 1)


def is_dicom(path: Path) -> bool:
    """Whether a file begins as a DICOM file does."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(MAGIC_AT + len(MAGIC))[MAGIC_AT:] == MAGIC
    except OSError:
        return False


@contextmanager
def quiet(path: Path) -> Iterator[None]:
    """Turn whatever a DICOM library raises into a FileError, and let it warn of nothing.

    Their messages quote the file's content, in which patients' names stand.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except FileError:
            raise
        except (InvalidDicomError, EOFError):
            raise FileError(path, f"is not a whole DICOM file. {AGAIN}") from None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise FileError(path, f"cannot be read ({reason}). {AGAIN}") from None
        except Exception as error:
            raise FileError(
                path, f"is damaged or not valid DICOM ({type(error).__name__}). {AGAIN}"
            ) from None


def read_header(path: Path, tags: Sequence[str]) -> tuple[Any, int]:
    """Some elements of a DICOM file before its pixels, and where the pixels begin.

    Raises:
        FileError: If the file is not valid DICOM, or its header is deflated, which would let a
            small file fill the memory.
    """
    with quiet(path), path.open("rb") as file:
        meta = pydicom.filereader.read_file_meta_info(path)
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            raise FileError(path, "is deflated DICOM. Export it without deflation.")
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(tags))
        return header, file.tell()


def check_bytes(path: Path) -> None:
    """Refuse a file larger than any structure set or segmentation.

    Raises:
        FileError: If it is.
    """
    if path.stat().st_size > MAX_HEADER_FILE_BYTES:
        raise FileError(path, "is larger than 1 GB. Export it again.")


def read_whole(path: Path) -> Any:
    """A DICOM file that is not an image: a structure set, or a segmentation.

    Raises:
        FileError: If it is not valid DICOM, or too large.
    """
    with quiet(path):
        check_bytes(path)
        read_header(path, ["SOPClassUID"])
        return pydicom.dcmread(path)
