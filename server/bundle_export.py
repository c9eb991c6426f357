"""A finished run's frozen bundle as one file, and what such a file holds, in words."""

from pathlib import Path

from server.coordinator import need
from server.stages.train_branches import finished
from server.study import EvaluationRecord, Greetings, Identity, Study
from server.study_folder import StudyFolder
from shared.bundle_file import BundleFile, Maker, write_bundle
from shared.config import Study as Settings
from shared.config import digest, load_study, networks
from shared.errors import StateError
from shared.identity import code_hash, release, versions
from shared.models import Bundle, TrainedOn
from shared.networks import network_layout


def open_run(run: Path) -> tuple[Study, Settings, StudyFolder]:
    """What a finished run has learned, its settings and its folder.

    Raises:
        StateError: If the folder holds no finished run, or one of another release.
    """
    if not (run / "results.json").exists() or not (run / "study.yaml").exists():
        raise StateError(f"{run} holds no finished run; finish it with --resume first.")
    settings = load_study(run / "study.yaml")
    folder = StudyFolder(run / "study")
    folder.begin(Identity(digest(settings), code_hash()))
    return folder.load(), settings, folder


def export_bundle(run: Path, out: Path) -> BundleFile:
    """Write the bundle of a finished run to one file.

    Raises:
        StateError: If the folder holds no finished run, or one of another release.
    """
    study, settings, folder = open_run(run)
    greetings: Greetings = need(study.hello, "hello")
    record: EvaluationRecord = need(study.evaluate, "evaluate")
    weights = {
        network.name: folder.get_weights(
            network.name, finished(study, network).best_round, network_layout(network)
        )
        for network in networks(settings)
    }
    synthetic = any(greeting.synthetic for greeting in greetings.sites.values())
    maker = Maker(release(), code_hash(), versions(), synthetic)
    found = BundleFile(settings, record.bundle, weights, maker)
    write_bundle(out, found)
    return found


def bundle_lines(found: BundleFile) -> list[str]:
    """What a bundle holds, a line each, for whoever is handed the file."""
    bundle, study = found.bundle, found.study
    lines = [
        f"{study.title}",
        f"bundle {bundle.hash()}",
        f"study {study.name} {bundle.study_hash}",
        f"made by trifed {found.maker.trifed}, code {found.maker.code_hash}",
        f"trained at {', '.join(study.sites.training)}",
        f"phases {', '.join(study.phases)}",
    ]
    if found.maker.synthetic:
        lines.insert(1, "trained on made-up patients: synthetic data")
    if bundle.trained_on is not None:
        lines.append(f"patients {_patients(bundle.trained_on)}")
    return lines + _model_lines(bundle) + _network_lines(found)


def _patients(told: TrainedOn) -> str:
    """The patients of each split at the training sites."""
    splits = told.n_cases.items()
    return ", ".join(f"{n} {split} ({told.n_positive[split]} positive)" for split, n in splits)


def _model_lines(bundle: Bundle) -> list[str]:
    scale = bundle.radiomics.scale
    widths = scale.extraction.bin_widths_hu.items()
    levels = ", ".join(f"{image} {width:g} HU" for image, width in widths)
    lines = [
        f"clinical model: {', '.join(bundle.clinical.predictors)}",
        f"radiomics score of {len(scale.names)} features"
        + (f", widths of grey levels {levels}" if levels else ""),
        *(
            f"  {name} {coefficient:+.4f}"
            for name, coefficient in zip(scale.names, bundle.radiomics.coefficients, strict=True)
        ),
        f"fusion layer of {', '.join(bundle.fusion.columns)}",
        "thresholds: "
        + ", ".join(f"{model} {threshold:g}" for model, threshold in bundle.thresholds.items()),
    ]
    if scale.sites:
        lines.insert(2, f"  harmonised sites have their own scale: {', '.join(scale.sites)}")
    return lines


def _network_lines(found: BundleFile) -> list[str]:
    return [
        f"network {network.name}: {network.branch.network}, {network.branch.kind}, "
        f"{found.weights[network.name].layout.size:,} parameters, "
        f"weights {found.bundle.network_hashes[network.name][:16]}"
        for network in networks(found.study)
    ]
