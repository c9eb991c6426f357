"""A world in which faults strike, and what its server said of them."""

import shutil
import tempfile
from pathlib import Path

import pytest

from server.aggregate import _identify_process
from server.stages import train_branches
from tests.deployment.courier_world import LAYOUT, World
from tests.server.test_train_branches import tiny_network


@pytest.fixture
def world(study, change, tmp_path, monkeypatch):
    """A study of two rounds, three hospitals on sockets, nothing asked yet."""
    _identify_process()
    monkeypatch.setattr(train_branches, "build_network", tiny_network)
    monkeypatch.setattr(train_branches, "network_layout", lambda _: LAYOUT)
    branch = {"name": "flat", "kind": "2.5d", "training": {"rounds": 2}}
    sites = {"training": ["site_a", "site_b", "site_c"], "external": []}
    sockets = Path(tempfile.mkdtemp(prefix="tri"))
    made = World(tmp_path, sockets, change(study, sites=sites, branches=[branch]))
    made.open()
    yield made
    made.close()
    shutil.rmtree(sockets)


UNDISTURBED: list[bytes] = []


@pytest.fixture
def undisturbed(world):
    """The weights' bits of a study that nothing happens to; the world has begun another one."""
    if not UNDISTURBED:
        UNDISTURBED.append(world.train())
        shutil.rmtree(world.folder / "study")
        for hospital in world.hospitals.values():
            hospital.forget()
    world.begin()
    return UNDISTURBED[0]
