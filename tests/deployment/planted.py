"""Identifiers planted in a hospital, exceptions that quote them, and a search that finds them.

What is planted begins with one word, so that the search needs no list.
"""

import base64
import csv
import gzip
import re
import sqlite3
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import Dataset

from tests.dicom_made import write_series

WORD = "QZXCANARY"
SABOTAGE = "TRIFED_SABOTAGE"
"""The variable that names the folder in which each act of sabotage notes that it was done."""
N_DICOM = 2
MOST_INFLATED = 4_000_000
DEFLATED = re.compile(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08")

SITECUSTOMIZE = f'''"""Loaded by each Python of a hospital: what quotes a patient is raised once."""
import os, sys
from pathlib import Path

def once(name):
    try:
        os.close(os.open(Path(os.environ["{SABOTAGE}"]) / name, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True

def raises(module, name, mark, error, only=None):
    before = getattr(module, name)
    def instead(*arguments, **named):
        if (only is None or only in arguments) and once(mark):
            raise error
        return before(*arguments, **named)
    setattr(module, name, instead)

words = " ".join(sys.orig_argv)
if "site serve" in words and "site_a" in words:
    import client.service
    raises(client.service.SiteService, "answer", "service",
           FileNotFoundError(2, "No such file", "/data/{WORD}^SERVICE/mask.nii.gz"),
           only="describe_cohort")
if "client.deploy.supernode" in words and "site_b" in words:
    import client.courier
    raises(client.courier, "deliver", "courier", KeyError("{WORD}^COURIER"))
    from flwr.supernode import fleet_http_client
    raises(fleet_http_client.FleetHttpClient, "PullMessages", "supernode",
           ValueError("{WORD}^SUPERNODE"))
'''


def plant(site_file: Path) -> None:
    """Let a made-up hospital's ids, files' names, cells and headers be ones to be found.

    Cells are in columns that the study reads and in ones that it does not, headers of columns too;
    image headers are all text tags of DICOM, private ones among them, and the texts of NIfTI.
    """
    folder = site_file.parent
    for table in ("manifest.csv", "clinical.csv"):
        rows = list(csv.DictReader((folder / table).open(encoding="utf-8")))
        for place, row in enumerate(rows):
            patient = row["patient_id"]
            row["patient_id"] = f"{WORD}-MRN-{patient}"
            if table == "clinical.csv":
                row["remark"] = f"{WORD} cell of {patient}"
                row[f"{WORD} column"] = f"=HYPERLINK({WORD} formula)"
                continue
            for column in [name for name in row if name.startswith(("image_", "mask"))]:
                before = folder / row[column]
                after = before.with_name(f"{WORD}^FILE_{before.name}")
                mark_header(before)
                if column != "mask" and place < N_DICOM:
                    after = as_dicom(before, after.with_name(after.name.split(".")[0]))
                else:
                    before.rename(after)
                row[column] = str(after.relative_to(folder))
        with (folder / table).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


NIFTI_TEXTS = {"db_name": (14, 18), "descrip": (148, 80), "aux_file": (228, 24)}
"""Where the texts of a NIfTI-1 header begin, and how long they are."""
TEXT_TAGS = (
    "PatientName", "PatientID", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName",
    "PatientAddress", "PatientComments", "PatientTelephoneNumbers", "MilitaryRank", "Occupation",
    "AccessionNumber", "StudyDescription", "SeriesDescription", "ProtocolName", "StudyComments",
    "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName", "RequestingPhysician",
    "NameOfPhysiciansReadingStudy", "InstitutionName", "InstitutionAddress",
    "InstitutionalDepartmentName", "StationName", "DeviceSerialNumber", "ImageComments",
    "AdditionalPatientHistory", "ReasonForStudy", "RequestedProcedureDescription",
)  # fmt: skip


def mark_header(image: Path) -> None:
    """Write the word into the texts of a NIfTI file's header; its voxels stay as they are."""
    content = bytearray(gzip.decompress(image.read_bytes()))
    for name, (start, length) in NIFTI_TEXTS.items():
        text = f"{WORD}^{name}"[:length].encode()
        content[start : start + len(text)] = text
    image.write_bytes(gzip.compress(bytes(content), mtime=0))


def as_dicom(image: Path, folder: Path) -> Path:
    """A NIfTI volume as a DICOM series whose tags name a patient."""
    found = sitk.ReadImage(str(image))
    values = np.round(sitk.GetArrayFromImage(found)).astype(np.int16)

    def tag(_number: int, dataset: Dataset) -> None:
        for name in TEXT_TAGS:
            setattr(dataset, name, f"{WORD} {name}"[:16])
        private = dataset.private_block(0x0029, f"{WORD} PRIVATE", create=True)
        private.add_new(0x10, "LT", f"{WORD} in a private tag")

    series = f"1.2.826.0.1.{abs(hash(folder.name)) % 10**9}"
    write_series(
        folder,
        values,
        spacing=found.GetSpacing(),
        origin=found.GetOrigin(),
        series=series,
        change=tag,
    )
    image.unlink()
    return folder


def forms(word: str = WORD) -> list[bytes]:
    """A word as bytes: plain, in two bytes a letter, in hexadecimal, in base64 at each offset."""
    plain = word.encode()
    found = [plain, word.encode("utf-16-le"), plain.hex().encode(), plain.hex().upper().encode()]
    for shift in range(3):
        # What is before and behind decides the outermost letters, so they are left off.
        coded = base64.b64encode(bytes(shift) + plain + bytes(3)).rstrip(b"=")
        found.append(coded[(8 * shift + 5) // 6 : (8 * (shift + len(plain))) // 6])
    return [*found, *(form.translate(bytes.maketrans(b"+/", b"-_")) for form in found[-3:])]


def holds(content: bytes) -> bool:
    """Whether the word stands in some bytes, in any form, or in what they hold compressed."""
    if any(form in content for form in FORMS):
        return True
    return any(any(form in part for form in FORMS) for part in inflated(content))


def inflated(content: bytes) -> Iterator[bytes]:
    """What bytes hold compressed, from wherever something may begin."""
    for start in (match.start() for match in DEFLATED.finditer(content)):
        reader = zlib.decompressobj(47)
        try:
            part = reader.decompress(content[start : start + MOST_INFLATED], MOST_INFLATED)
        except zlib.error:
            continue
        yield part


def found_in(folder: Path) -> list[str]:
    """The files of a folder that hold the word, or have it in their names; archives' parts too."""
    found = []
    for path in (path for path in sorted(folder.rglob("*")) if path.is_file()):
        name = str(path.relative_to(folder))
        if WORD in name or holds(path.read_bytes()):
            found.append(name)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                found += [f"{name}: {n}" for n in archive.namelist() if holds(archive.read(n))]
        if path.suffix == ".db":
            found += [f"{name}: {cell}" for cell in cells_that_hold(path)]
    return found


def cells_that_hold(database: Path) -> Iterator[str]:
    """The cells of a database that hold the word; a cell may be spread over a file's pages."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        listed = connection.execute("select name from sqlite_master where type = 'table'")
        for (table,) in listed.fetchall():
            for row in connection.execute(f'select * from "{table}"'):
                for cell in row:
                    content = cell if isinstance(cell, bytes) else str(cell).encode()
                    if holds(content) or holds_archived(content):
                        yield table
    connection.close()


def holds_archived(content: bytes) -> bool:
    """Whether a cell is an archive, as Flower's bundles are, that holds the word."""
    from io import BytesIO

    if not content.startswith(b"PK"):
        return False
    with zipfile.ZipFile(BytesIO(content)) as archive:
        return any(holds(archive.read(name)) for name in archive.namelist())


FORMS = forms()
