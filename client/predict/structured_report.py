"""A prediction as a DICOM Structured Report, to lie beside the images it was computed from.

The report names the patient, as it must. It is written for the hospital's own archive: no stage
reads it, and nothing of it leaves.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from highdicom import sr
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from client.images.dicom_files import quiet
from client.images.formats import FileError
from client.predict.page import verdict
from client.predict.predict import Prediction, Score
from client.predict.sources import Sources, device_uid, new_uid
from shared.errors import ConfigError, ImageError
from shared.files import write_atomically

RESEARCH = "For research only. Not for diagnosis."
SYNTHETIC = "Made-up patient: synthetic data."
DESCRIPTION = "trifed: for research only, not for diagnosis"
SERIES_NUMBER = 9900
SCHEME = "99TRIFED"
LONGEST = 64
"""Characters of a DICOM long string (LO)."""


def refuse_existing(path: Path) -> None:
    """Keep a report that stands already: two reports of one name are two objects.

    Raises:
        ConfigError: If there is a file or folder.
    """
    if path.exists() or path.is_symlink():
        raise ConfigError(
            f"--sr {path}: is there already, and is kept. Name another file, or remove it."
        )


def write_report(path: Path, found: Prediction) -> None:
    """Write a prediction's report, readable by its owner only, where the system knows owners.

    Raises:
        ConfigError: If the file is there already.
        ImageError: If the headers of the patient's images cannot be taken over.
    """
    refuse_existing(path)
    if found.sources is None:
        raise ImageError("--sr: the prediction was computed without the headers of its images.")
    content = io.BytesIO()
    try:
        with quiet(path):
            report_of(found, found.sources).save_as(content, enforce_file_format=True)
    except FileError:
        raise ImageError(
            "--sr: the headers of the CT series hold what a DICOM report may not. Check patient "
            "and study in them."
        ) from None
    write_atomically(path, content.getvalue())
    path.chmod(0o600)


def report_of(found: Prediction, sources: Sources) -> Any:
    """A Comprehensive SR with an imaging measurement report, in the study of the first phase.

    Every slice and DICOM mask is evidence; the middle slice of each phase is referenced in the
    tree, so that viewers can open the series. It is complete, preliminary and unverified. Texts
    are UTF-8 whatever the images' character set is.

    References:
        DICOM PS3.3, A.35.3: Comprehensive SR. PS3.16, TID 1500: Measurement Report, TID 1501:
        Measurement and Qualitative Evaluation Group.
    """
    evidence = sources.files
    report = sr.ComprehensiveSR(
        evidence=evidence,
        content=_content(found, sources)[0],
        series_instance_uid=new_uid(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=new_uid(),
        instance_number=1,
        manufacturer="trifed",
        manufacturer_model_name="trifed",
        software_versions=_long(found.trifed),
        device_serial_number=_long(found.bundle_hash),
        series_description=DESCRIPTION + (" (synthetic data)" if found.synthetic else ""),
        is_complete=True,
        is_final=False,
        is_verified=False,
        specific_character_set="ISO_IR 192",
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    if found.synthetic:
        report.SyntheticData = "YES"
    return report


def _content(found: Prediction, sources: Sources) -> Any:
    """The tree, a sequence of its root alone."""
    names = ["fusion", *(name for name in found.models if name != "fusion")]
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=_device(found)),
        procedure_reported=codes.SCT.ComputedTomography,
        imaging_measurements=[
            _group(found, name, sources if name == "fusion" else None)
            for name in names
            if found.models[name].probability is not None
        ],
    )
    root = content[0].ContentSequence
    for text in (RESEARCH, *([SYNTHETIC] if found.synthetic else [])):
        root.insert(len(root) - 1, _text(codes.DCM.Comment, text))
    words = sr.ContainerContentItem(
        name=sr.CodedConcept("C0034375", "UMLS", "Qualitative Evaluations"),
        relationship_type=sr.RelationshipTypeValues.CONTAINS,
    )
    words.ContentSequence = sr.ContentSequence(
        [_text(_own(code, meaning), text) for code, meaning, text in _words(found, sources)]
    )
    root.append(words)
    return content


def _words(found: Prediction, sources: Sources) -> Iterator[tuple[str, str, str]]:
    """What the report says in words: a code, its meaning, and the text."""
    yield "positive-label", "Positive label", found.positive_means
    yield "study", "Study of the models", f"{found.title or found.study}"
    yield "bundle", "Hash of the bundle", found.bundle_hash
    for text in found.warnings:
        yield "warning", "Warning", text
    if not found.warnings:
        yield (
            "warning",
            "Warning",
            "None: what was looked at is like the training patients. That does not make the score "
            "right.",
        )
    for name in found.models:
        yield "verdict", "Verdict of the frozen threshold", f"{name}: {verdict(found, name)}"
    explained = found.explained
    yield "mean-logit", "Fusion layer's mean logit", f"{explained.mean_logit:+.12g}"
    for source, logit in explained.sources.items():
        yield "contribution", "Contribution to the fusion layer's logit", f"{source}: {logit:+.12g}"
    yield "scaling", "Scaling of the features", found.scaling
    for phase, slices in sources.phases.items():
        uid = slices[0].SeriesInstanceUID
        yield "phase", "Phase", f"{phase}: {len(slices)} slices of the series {uid}"


def _group(found: Prediction, name: str, sources: Sources | None) -> Any:
    """One model's probability, threshold and verdict."""
    score = found.models[name]
    numbers = [
        (codes.DCM.Probability, score.probability),
        (codes.DCM.ThresholdValue, score.threshold),
    ]
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=new_uid(), identifier=name),
        algorithm_id=sr.AlgorithmIdentification(
            name=f"trifed: {name}", version=found.trifed, parameters=[f"bundle {found.bundle_hash}"]
        ),
        measurements=[
            sr.Measurement(name=concept, value=value, unit=codes.UCUM.NoUnits)
            for concept, value in numbers
            if value is not None
        ],
        qualitative_evaluations=_verdict(score),
        source_images=None if sources is None else _middles(sources),
    )


def _verdict(score: Score) -> Any:
    if score.positive is None:
        return None
    value = codes.SCT.Positive if score.positive else codes.SCT.Negative
    name = _own("verdict", "Verdict of the frozen threshold")
    return [sr.QualitativeEvaluation(name=name, value=value)]


def _middles(sources: Sources) -> list[Any]:
    """The middle slice of each phase."""
    middles = [slices[len(slices) // 2] for slices in sources.phases.values()]
    return [
        sr.SourceImageForMeasurementGroup(
            referenced_sop_class_uid=one.SOPClassUID, referenced_sop_instance_uid=one.SOPInstanceUID
        )
        for one in middles
    ]


def _device(found: Prediction) -> Any:
    """The observer is the program."""
    return sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=device_uid(["trifed", found.trifed, found.bundle_hash]),
            name="trifed",
            manufacturer_name="trifed",
            model_name=f"trifed {found.trifed}",
            serial_number=found.bundle_hash,
        ),
    )


def _text(name: Any, text: str) -> Any:
    contains = sr.RelationshipTypeValues.CONTAINS
    return sr.TextContentItem(name=name, value=text, relationship_type=contains)


def _own(code: str, meaning: str) -> Any:
    """A concept that no public dictionary has."""
    return sr.CodedConcept(code, SCHEME, meaning)


def _long(text: str) -> str:
    return text[:LONGEST]
