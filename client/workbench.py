"""A site at work: its cases, and the networks and tensors kept in memory between questions."""

import functools
from dataclasses import dataclass

import numpy as np
import torch

from client.augment import Frame, frame_of
from client.device import Compute, compute_for, inputs_device, prepare_process
from client.ledger import Ledger
from client.looks import Looks
from client.rounds import Rounds
from client.seeds import seed_for
from client.site import Cases, Site
from shared.branches import Network
from shared.config import Study, all_networks, digest
from shared.errors import CodecError
from shared.networks import build_network, frozen_names, layout_of
from shared.updates import Coder


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """A network's input for the cases that have it.

    Attributes:
        tensor: ``(n_present, ...)`` float32, on the device or in main memory; `Compute.take`
            brings rows of it to the device.
        labels: ``(n_present,)`` float32 on the device; NaN where the label is not known.
        present: ``(n,)`` bool: which of the handle's cases have every phase of the network.
        patients: ``(n_present,)`` uint64: what a patient's chance in training hangs on.
        frame: What augmentation must know of the input.
    """

    tensor: torch.Tensor
    labels: torch.Tensor
    present: np.ndarray
    patients: np.ndarray
    frame: Frame

    def only(self, chosen: np.ndarray) -> "Inputs":
        """The input of some of the handle's cases, bool ``(n,)``; a copy."""
        rows = torch.from_numpy(np.flatnonzero(chosen[self.present])).to(self.tensor.device)
        tensor = self.tensor.index_select(0, rows)
        labels = self.labels.index_select(0, rows.to(self.labels.device))
        there = chosen[self.present]
        return Inputs(tensor, labels, self.present[chosen], self.patients[there], self.frame)


class Workbench:
    """What a site's half of a stage works with."""

    def __init__(self, site: Site, *, threads: int) -> None:
        prepare_process(threads)
        self.site = site
        self.ledger = Ledger(site.name, folder=site.folder, cache=site.cache_folder)
        self.looks = Looks(site.name, folder=site.home, cache=site.cache_folder)
        self._networks = {network.name: network for network in all_networks(site.study)}
        self._inputs: dict[tuple[str, str], Inputs] = {}
        self._rounds: dict[str, Rounds] = {}

    @property
    def study(self) -> Study:
        """The study's settings."""
        return self.site.study

    def network(self, name: str) -> Network:
        """The study's network of that name.

        Raises:
            CodecError: If the study has none.
        """
        if name not in self._networks:
            raise CodecError("the request names a network that the study does not have")
        return self._networks[name]

    def compute(self, network: Network) -> Compute:
        """Device, number format and memory layout for a network."""
        return compute_for(network, self.site.settings.device)

    def module(self, network: Network) -> torch.nn.Module:
        """The network as a module; the caller loads the weights."""
        compute = self.compute(network)
        text = _blank(network).model_dump_json()
        return _module(text, compute.device, compute.memory_format)

    def inputs(self, network: Network, cases: Cases) -> Inputs:
        """The network's input for a handle's cases; that of a whole split is kept in memory.

        On the device or in main memory, as `inputs_device` says.
        """
        handle = self.site.handle(cases.split)
        whole = self._split(network, handle)
        if len(cases) == len(handle):
            return whole
        wanted = {case.patient_id for case in cases}
        return whole.only(np.array([case.patient_id in wanted for case in handle], dtype=bool))

    def _split(self, network: Network, cases: Cases) -> Inputs:
        key = (digest(_blank(network)), cases.split)
        if key not in self._inputs:
            tensor, present = self.site.tensors(cases, network)
            tensor = tensor[present]
            compute = self.compute(network)
            device = inputs_device(tensor.nbytes, compute, self.site.settings.device)
            labels = self.site.known_labels(cases)[present]
            patients = [seed_for("patient", case.patient_id) for case in cases]
            self._inputs[key] = Inputs(
                torch.from_numpy(tensor).to(device),
                torch.from_numpy(labels).to(compute.device),
                present,
                np.array(patients, np.uint64)[present],
                frame_of(network),
            )
        return self._inputs[key]

    def rounds(self, network: Network) -> Rounds:
        """What the site keeps of a network's rounds."""
        if network.name not in self._rounds:
            form, layout = self.study.aggregation.updates, layout_of(self.module(network))
            folder = self.site.cache_folder / "rounds" / digest(self.study)[:16] / network.name
            coder = Coder(form, layout, frozen_names(network))
            self._rounds[network.name] = Rounds(folder, coder, self.site.log)
        return self._rounds[network.name]


def _blank(network: Network) -> Network:
    """What a network looks like and sees, whatever its name and the cases that it is trained on."""
    return network.model_copy(update={"name": "network", "fold": None})


@functools.lru_cache(maxsize=8)
def _module(
    network_json: str, device: torch.device, memory_format: torch.memory_format
) -> torch.nn.Module:
    """One module for each network in this process; sites of a simulation share it in turn."""
    module = build_network(Network.model_validate_json(network_json), seed=0)
    return module.to(device=device, memory_format=memory_format)  # type: ignore[call-overload,no-any-return]
