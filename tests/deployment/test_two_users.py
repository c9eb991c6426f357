"""A hospital whose two halves are two users: what has the network cannot read a patient's file.

The steps are those of docs/deployment.md, with numbers in place of names. It takes root to be two
users, and some minutes, so it is run by hand:

    TRIFED_PROCESSES=1 python -m pytest tests/deployment/test_two_users.py
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shared.config import load_study
from shared.strict_yaml import dump_settings
from simulation.phantom import write_cohort
from tests.conftest import TINY
from tests.deployment.real_processes import ENVIRONMENT, ROOT, joined, processes, until

SERVICE, COURIER = 61_001, 61_002
PAGE = ROOT / "docs" / "deployment.md"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv makes the users"),
    pytest.mark.skipif(getattr(os, "getuid", lambda: 1)() != 0, reason="root alone is two users"),
    pytest.mark.skipif("TRIFED_PROCESSES" not in os.environ, reason="run by hand"),
]


def as_user(user: int, *command: object) -> list[str]:
    """A command of one of the two users, who have no home and no other group."""
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    masked = ["env", "HOME=/nonexistent", "sh", "-c", 'umask 0027; exec "$@"', "sh"]
    return [*become, *masked, *map(str, command)]


def steps_of_the_page(folder: Path) -> str:
    """The commands of the page that share a hospital's folder out to two users."""
    block = re.search(r"^useradd .*?(?=^systemctl)", PAGE.read_text(), re.M | re.S)
    assert block is not None
    lines = [line for line in block[0].splitlines() if not line.startswith("useradd")]
    text = "\n".join(lines).replace("/srv/trifed", str(folder))
    text = text.replace("trifed-courier", str(COURIER)).replace("root:trifed", f"root:{SERVICE}")
    return text.replace("trifed:trifed", f"{SERVICE}:{SERVICE}")


@pytest.fixture
def hospital(tmp_path):
    """One hospital of the tiny study that joined a server, which begins without the others."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    study = load_study(TINY)
    cohort = write_cohort(study, tmp_path / "hospitals", site_threads=1)
    study_file = tmp_path / "study.yaml"
    study_file.write_text(dump_settings(study))
    with joined(study_file, [cohort["site_a"]], tmp_path) as federation:
        settings = federation.server / "server.yaml"
        text = settings.read_text()
        settings.write_text(text.replace("join_quorum: null", "join_quorum: 1"))
        yield federation
        for pid in processes("site start", str(cohort["site_a"])):
            os.kill(pid, 15)


def test_the_courier_carries_what_it_cannot_read(hospital):
    (site_file,) = hospital.site_files
    folder = site_file.parent
    subprocess.run(["bash", "-e", "-c", steps_of_the_page(folder)], check=True)
    hospital.start_server()
    for user, part in ((SERVICE, "--service-only"), (COURIER, "--courier-only")):
        start = [sys.executable, "-P", "-m", "trifed", "site", "start", site_file, part]
        with (hospital.server.parent / f"{part}.out").open("wb") as out:
            hospital.running[part] = subprocess.Popen(
                as_user(user, *start, "--foreground"),
                env=ENVIRONMENT, stdout=out, stderr=out, cwd="/", start_new_session=True,
            )  # fmt: skip

    def answered() -> bool:
        for name, process in hospital.running.items():
            assert process.poll() is None, f"{name} has ended\n{hospital.logs()}"
        file = hospital.server / "run" / "status.json"
        if not file.exists():
            return False
        status = json.loads(file.read_text())
        return bool(status["sites"]["site_a"]["state"] == "answered")

    until(answered, limit_s=600, what="the hospital has answered")
    secret = [site_file, folder / "manifest.csv", folder / "clinical.csv", folder / "images"]
    secret += [*folder.glob("federation/*.log"), folder / "cache"]
    for path in secret:
        assert path.exists()
        reading = as_user(COURIER, "test", "-r", path)
        assert subprocess.run(reading, check=False).returncode == 1, path
    key = folder / "federation" / "node.key"
    assert subprocess.run(as_user(COURIER, "test", "-w", key), check=False).returncode == 1
    stranger = as_user(61_003, "test", "-r", key)
    assert subprocess.run(stranger, check=False).returncode == 1
