"""The installation: every library is pinned once, and the project's files agree about it."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
LINES = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
PINS = dict(line.split("==") for line in LINES if line and not line.startswith("#"))
DECLARED = [
    *PROJECT["build-system"]["requires"],
    *PROJECT["project"]["dependencies"],
    *(requirement for extra in EXTRAS.values() for requirement in extra),
]


def _needed_by(requirement: Requirement, seen: set[tuple[str, str]]) -> set[str]:
    """A requirement and all that it needs on this machine, by what is installed."""
    name = canonicalize_name(requirement.name)
    found = {name}
    for extra in ("", *sorted(requirement.extras)):
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            lines = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for needed in map(Requirement, lines):
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                found |= _needed_by(needed, seen)
    return found


def _make(*arguments: str) -> str:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    outside = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env=outside, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("text", DECLARED)
def test_a_declared_library_is_pinned_to_a_version_it_allows(text):
    requirement = Requirement(text)
    pin = PINS.get(canonicalize_name(requirement.name))
    assert pin is not None, f"constraints.txt has no {requirement.name}"
    assert requirement.specifier.contains(pin), f"{text} does not allow the pinned {pin}"


def test_what_the_libraries_need_is_pinned_too():
    seen: set[tuple[str, str]] = set()
    needed = {name for text in DECLARED for name in _needed_by(Requirement(text), seen)}
    absent = sorted(name for name in needed - set(PINS) if not name.startswith(("nvidia", "cuda")))
    assert not set(absent) - {"triton"}, f"add to constraints.txt: {absent}"


def test_a_pin_is_one_exact_version_and_nothing_else():
    exact = re.compile(r"[\d.]+(b\d+)?")  # some of OpenTelemetry has only betas
    odd = [f"{name}=={pin}" for name, pin in PINS.items() if not exact.fullmatch(pin)]
    assert odd == []
    assert list(PINS) == sorted({canonicalize_name(name) for name in PINS})


def test_every_extra_of_the_pip_lines_exists():
    lists = re.findall(r'"\.\[([\w,-]+)\]"', "\n".join(LINES))
    named = {extra for extras in lists for extra in extras.split(",")}
    assert {"radiomics", "radiomics-next"} <= named <= set(EXTRAS)


def test_help_names_every_goal():
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    goals = phony.group(1).split() if phony else []
    assert [line.split()[1] for line in _make().splitlines()] == goals


def test_nothing_is_installed_from_pips_cache():
    steps = [
        line for line in _make("--dry-run", "-B", "test").splitlines() if "pip install" in line
    ]
    assert len(steps) == 3
    assert all("--no-cache-dir" in step and "constraints.txt" in step for step in steps)


def test_one_version_stands_in_all_files():
    version = PROJECT["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\n## [{version}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_continuous_integration_may_run_the_script():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
