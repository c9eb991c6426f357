"""Where the networks look in single patients: pages for the hospital, which stay there."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from client.cohort.cases import Cases
from client.explain.heat import heat_of, tumour_of
from client.explain.look import Look, look_at
from client.explain.page import write_page
from client.explain.weights import load_weights
from client.prepare import Progress
from client.products import MaskTensor, Tensor
from client.site import Site, open_site
from client.workbench import Workbench
from shared.branches import Explain, Network
from shared.config import Study, networks
from shared.errors import CohortError, ConfigError
from shared.networks import Weights, set_weights


def explain_patients(
    site_file: Path,
    study: Study,
    weights: Path,
    out: Path,
    *,
    patients: Sequence[str] = (),
    threads: int | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Write a page for each patient into a folder of the hospital, and return the pages.

    Args:
        weights: The folder `weights` of a finished run.
        out: Must lie in the site file's folder.
        patients: Whom; nobody means everyone of the site's test split.

    Raises:
        ConfigError: If the folder lies elsewhere, or the study has no networks.
        CohortError: If a patient is not of this site, or has no image for any network.
        StateError: If the weights are not those of the study's networks.
    """
    if not out.resolve().is_relative_to(site_file.parent.resolve()):
        raise ConfigError(
            f"{out}: lies outside the hospital's folder {site_file.parent.resolve()}; pages with "
            "patients' images stay there. Name a folder in it."
        )
    found = {network: load_weights(weights, network) for network in networks(study)}
    if not found:
        raise ConfigError("the study has no networks (branches: []), so there is nothing to see.")
    site = open_site(
        site_file,
        study,
        threads=threads,
        progress=progress,
        labels_required=not patients,
        local=True,
    )
    cases = chosen(site, patients)
    bench = Workbench(site, threads=site.threads)
    looks: dict[str, list[Look]] = {case.patient_id: [] for case in cases}
    for network, each in found.items():
        for patient, look in looks_of(bench, network, each, cases).items():
            looks[patient].append(look)
    unseen = [patient for patient, seen in looks.items() if not seen]
    if unseen:
        raise CohortError(f"{unseen[0]}: has not all phases of any network, so there is no heat.")
    out.mkdir(parents=True, exist_ok=True)
    return [write_page(out, site, patient, seen) for patient, seen in looks.items()]


def chosen(site: Site, patients: Sequence[str]) -> Cases:
    """The named patients, or those of the test split.

    Raises:
        CohortError: If one is not there, or nobody is.
    """
    if not patients:
        tested = site.external_test if site.role == "external" else site.internal_test
        if not len(tested):
            raise CohortError(f"{site.name}: has no patient to test. Name patients: --patient ID.")
        return tested
    known = {case.patient_id: case for case in site.everyone}
    strange = [patient for patient in patients if patient not in known]
    if strange:
        raise CohortError(f"{site.name}: has no usable patient '{strange[0]}' in its manifest.")
    return Cases(tuple(known[patient] for patient in dict.fromkeys(patients)), "all")


def looks_of(bench: Workbench, network: Network, weights: Weights, cases: Cases) -> dict[str, Look]:
    """Where a network looks in those of the patients that have all its phases."""
    settings = bench.study.explain or Explain()
    tensors = bench.site.arrays(cases, Tensor(bench.study, network))
    masks = bench.site.arrays(cases, MaskTensor(bench.study, network))
    if not tensors:
        return {}
    module, compute = bench.module(network), bench.compute(network)
    set_weights(module, weights)
    inputs = torch.from_numpy(np.stack(list(tensors.values()))).to(compute.device)
    heat = heat_of(module, network, inputs, compute, settings.method)
    return {
        patient: look_at(
            network,
            float(heat.logits[i]),
            tensors[patient],
            heat.maps[i],
            tumour_of(masks[patient], network),
        )
        for i, patient in enumerate(tensors)
    }
