"""The tutorial, followed word for word in an empty folder; what each step took is printed.

Ten minutes or more, so it is run by hand (-s shows the times):

    TRIFED_PROCESSES=1 python -m pytest -s tests/deployment/test_tutorial.py
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.deployment.real_processes import ENVIRONMENT, ROOT, free_port

PAGE = ROOT / "docs" / "tutorial.md"
LIMIT_S = 3600.0
STEP = re.compile(r"^## (?P<title>[^\n]*)$|^```sh\n(?P<commands>.*?)^```$", re.M | re.S)


def steps() -> list[tuple[str, str]]:
    """Each block of commands under its title."""
    found, title = [], ""
    for match in STEP.finditer(PAGE.read_text(encoding="utf-8")):
        if match["title"] is not None:
            title = match["title"]
        else:
            found.append((title, match["commands"]))
    return found


def test_the_tutorial_has_steps_under_each_title():
    titles = re.findall(r"^## (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert list(dict.fromkeys(title for title, _ in steps())) == titles


@pytest.fixture
def folder(tmp_path):
    """An empty folder with the study file, and `trifed` in the path; whatever runs is ended."""
    shutil.copy(ROOT / "configs" / "tutorial.yaml", tmp_path)
    command = tmp_path / "bin" / "trifed"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m trifed "$@"\n')
    command.chmod(0o755)
    yield tmp_path
    if (tmp_path / "server").exists():
        run("trifed server stop server", tmp_path)
    for site_file in tmp_path.glob("hospitals/*/site.yaml"):
        run(f"trifed site stop {site_file}", tmp_path)


def run(commands: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Commands as a person's shell takes them."""
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-e", "-c", commands],
        cwd=folder,
        env=ENVIRONMENT | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(LIMIT_S)
@pytest.mark.skipif(
    "TRIFED_PROCESSES" not in os.environ, reason="run by hand, with TRIFED_PROCESSES=1"
)
def test_the_tutorial_leads_where_it_says(folder):
    port = str(free_port())
    for title, commands in steps():
        began = time.monotonic()
        found = run(commands.replace("8443", port), folder)
        print(f"\n{time.monotonic() - began:6.1f} s  {title}\n{found.stdout}{found.stderr}")
        assert found.returncode == 0, title
    assert found.stdout.endswith("equal to the bit\n")
