"""A study between real processes, two of which are killed, gives the simulation's numbers."""

import json
import os
from pathlib import Path

import pytest

from shared.config import Study, load_study
from shared.strict_yaml import dump_settings
from tests.conftest import simulate
from tests.deployment.cells import same_as
from tests.deployment.kill_matrix import STUDY, federation_of, to_the_end
from tests.deployment.moments import Killer, Timeline

LIMIT_S = 300.0
SITE = "site_b"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up in /proc"),
    pytest.mark.skipif(
        "TRIFED_PROCESSES" not in os.environ, reason="run by hand, with TRIFED_PROCESSES=1"
    ),
]


def of_one_hospital(study: Study) -> Study:
    """The study without the other hospitals."""
    content = study.model_dump(mode="json")
    content["sites"] = {"training": [SITE], "external": []}
    content["phantom"]["sites"] = {SITE: content["phantom"]["sites"][SITE]}
    content["aggregation"]["max_site_share"] = 1.0
    return Study.model_validate_json(json.dumps(content))


@pytest.mark.timeout(10 * LIMIT_S)
def test_a_service_killed_in_a_round_and_a_server_killed_later_change_no_number(tmp_path: Path):
    file, reference = tmp_path / "study.yaml", tmp_path / "reference"
    file.write_text(dump_settings(of_one_hospital(load_study(STUDY))))
    simulate(file, reference)
    with federation_of(file, reference, tmp_path / "run", apart=False) as federation:
        timeline = Timeline(federation)
        Killer(federation, timeline, "site service", LIMIT_S).hit("save")
        Killer(federation, timeline, "server app", LIMIT_S).hit("embedding")
        assert not to_the_end(federation, timeline, LIMIT_S), federation.logs()
        assert same_as(federation.server / "run", reference)
