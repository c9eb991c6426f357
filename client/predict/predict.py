"""`trifed predict`: a frozen bundle on one patient whose label is not known, for research.

Images are read, features extracted and scaled, networks and models applied by the code of the
stage `evaluate`, so that the score is the one that the patient would have in the run.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from client.embeddings import keep_outputs
from client.evaluate import check_maker, check_meant
from client.explain.look import Look
from client.explain.patients import looks_of
from client.predict.contributions import Explained, explained
from client.predict.doubts import doubts_of
from client.predict.named_files import NamedFiles
from client.predict.patient import TablePatient, opened
from client.predict.sources import Sources, sources_of
from client.prepare import Progress
from client.scoring import bundle_columns, probabilities
from client.site import Site
from client.workbench import Workbench
from shared.branches import Branch25D
from shared.bundle_file import BundleFile, read_bundle
from shared.config import networks
from shared.identity import release


@dataclass(frozen=True, slots=True)
class Score:
    """One model's probability of the positive label, and what its frozen threshold makes of it.

    All are None where the model has no score, for want of a phase; `threshold` and `positive` also
    where the model has no threshold.
    """

    probability: float | None
    threshold: float | None
    positive: bool | None


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a bundle says of one patient.

    Attributes:
        patient: The id that was given; empty where files were named.
        site: The hospital whose tables name the patient; empty where files were named.
        positive_means: What the positive label is, in words.
        models: Each model's score; `fusion` is the last.
        explained: The fusion layer's logit, taken apart.
        scaling: How the features were put on the scale of training, in words.
        warnings: Why the score may be of no worth for this patient, in words.
        looks: Where each network that can show it looks.
        trifed: The release that computed it.
        sources: The headers of the files it was computed from, if they were asked for.
    """

    patient: str
    site: str
    study: str
    title: str
    bundle_hash: str
    trifed: str
    synthetic: bool
    positive_means: str
    models: dict[str, Score]
    explained: Explained
    scaling: str
    warnings: tuple[str, ...]
    looks: tuple[Look, ...]
    heat_method: str
    sources: Sources | None = field(default=None, repr=False)


def predict_file(
    bundle_file: Path,
    wanted: NamedFiles | TablePatient,
    *,
    bundle_hash: str = "",
    threads: int | None = None,
    heat: bool = True,
    sources: bool = False,
    progress: Progress | None = None,
) -> Prediction:
    """Score one patient with a bundle's file.

    Args:
        bundle_hash: What the bundle's hash must begin with; empty if nobody told it.
        heat: Whether to compute where the networks look.
        sources: Whether to keep the headers of the patient's DICOM files, for a report.

    Raises:
        BundleError: If the file is damaged or not the one that is meant.
        HandshakeError: If the bundle was made with another release or other libraries.
        ConfigError: If an option does not say what it must.
        ManifestError: If the patient is not in the tables, or a file is not there.
        CohortError: If a phase is missing that the models must have.
        ImageError: If an image or mask cannot be used, or is not DICOM where `sources` are kept.
    """
    found = read_bundle(bundle_file)
    check_meant(bundle_file, found.bundle.hash(), bundle_hash)
    check_maker(found)
    with opened(wanted, found.study, threads=threads, progress=progress) as site:
        kept = sources_of(site.external_test.cases[0]) if sources else None
        return replace(_predict(found, site, wanted, heat=heat), sources=kept)


def _predict(
    found: BundleFile, site: Site, wanted: NamedFiles | TablePatient, *, heat: bool
) -> Prediction:
    bundle, study = found.bundle, site.study
    bench = Workbench(site, threads=site.threads)
    cases = site.external_test
    for network in networks(study):
        keep_outputs(bench, network, found.weights[network.name], (cases,))
    columns = bundle_columns(bench, cases, bundle)
    scores = probabilities(bench, cases, bundle, columns=columns)
    named = isinstance(wanted, TablePatient)
    endpoint = study.endpoint
    looks = _looks(bench, found) if heat else ()
    return Prediction(
        patient=wanted.patient_id if isinstance(wanted, TablePatient) else "",
        site=site.name if named else "",
        study=study.name,
        title=study.title,
        bundle_hash=bundle.hash(),
        trifed=release(),
        synthetic=found.maker.synthetic or site.settings.synthetic,
        positive_means=f"{endpoint.name} {' or '.join(endpoint.positive)}",
        models={name: _score(scores[name], bundle.thresholds[name]) for name in scores},
        explained=explained(bundle.fusion, columns[0], study),
        scaling=scaling_words(found, site.name if named else ""),
        warnings=doubts_of(found, site, columns[0]),
        looks=looks,
        heat_method=study.explain.method if study.explain else "occlusion",
    )


def _score(scores: np.ndarray, threshold: float) -> Score:
    if not np.isfinite(scores[0]):
        return Score(None, None, None)
    probability = float(scores[0])
    if np.isnan(threshold):
        return Score(probability, None, None)
    return Score(probability, threshold, probability >= threshold)


def _looks(bench: Workbench, found: BundleFile) -> tuple[Look, ...]:
    """Where the networks look that see one stack in a field of one size."""
    if bench.site.features_from != "images":
        return ()
    looks: list[Look] = []
    for network in networks(bench.study):
        branch = network.branch
        if not isinstance(branch, Branch25D) or branch.has_one_grid:
            weights = found.weights[network.name]
            looks += looks_of(bench, network, weights, bench.site.external_test).values()
    return tuple(looks)


def scaling_words(found: BundleFile, site: str) -> str:
    """How a hospital's features are put on the scale of training; `site` is empty for none."""
    harmonised = found.bundle.radiomics.scale.sites
    if not harmonised:
        return (
            "The models were not harmonised between hospitals. Radiomics features are clipped and "
            "standardised by the bounds, means and standard deviations of the training patients, "
            "as at every site of the study."
        )
    if site in harmonised:
        return (
            f"The models were harmonised between hospitals (ComBat). {site} trained them: its own "
            "frozen shift and spread are taken out of the radiomics features, as in training."
        )
    return (
        "The models were harmonised between hospitals (ComBat), and this hospital was not one of "
        f"them ({', '.join(harmonised)}). No shift or spread is estimated from the patient: as for "
        "every external site, radiomics features are taken as they are, clipped by the training "
        "patients' bounds, and standardised by the pooled means and standard deviations after "
        "harmonisation."
    )
