"""The files for systemd, nginx and containers say what the product does."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from server.deploy.gate import HEALTH, OPEN
from trifed import build_parser

ROOT = Path(__file__).resolve().parents[2]
SERVER, CLIENT = ROOT / "server" / "deploy" / "files", ROOT / "client" / "deploy" / "files"
UNITS = [SERVER / "trifed-server@.service", CLIENT / "trifed-site.service"]
UNITS += [CLIENT / "trifed-courier.service"]
COMPOSE = [SERVER / "compose.yaml", CLIENT / "compose.yaml"]
ANALYZE = shutil.which("systemd-analyze")


def settings(unit: Path) -> dict[str, list[str]]:
    """A unit's settings by name; a name may stand more than once."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text("utf-8").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.skipif(ANALYZE is None, reason="there is no systemd-analyze on this machine")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_every_setting(unit, tmp_path):
    text = unit.read_text("utf-8").replace("/opt/trifed/bin/trifed", shutil.which("true") or "")
    copy = tmp_path / unit.name.replace("@.", "@study.")
    copy.write_text(text, "utf-8")
    found = subprocess.run(
        [str(ANALYZE), "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )
    told = [line for line in found.stderr.splitlines() if unit.stem.rstrip("@") in line]
    assert (found.returncode, told) == (0, [])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_runs_a_command_that_there_is(unit):
    (command,) = settings(unit)["ExecStart"]
    program, *arguments = command.replace("%i", "study").split()
    assert program == "/opt/trifed/bin/trifed"
    assert build_parser().parse_args(arguments).foreground


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_gives_nothing_that_it_does_not_need(unit):
    found = settings(unit)
    assert found["NoNewPrivileges"] == ["yes"]
    assert found["ProtectSystem"] == ["strict"]
    assert found["ProtectHome"] == ["yes"]
    assert found["CapabilityBoundingSet"] == [""]
    assert found["User"][0] not in ("root", "")


def test_at_a_hospital_two_users_share_nothing_but_the_federations_folder():
    site, courier = settings(UNITS[1]), settings(UNITS[2])
    assert site["User"] != courier["User"]
    assert site["PrivateNetwork"] == ["yes"]
    assert courier["TemporaryFileSystem"] == ["/srv/trifed:ro"]
    assert courier["BindReadOnlyPaths"] == ["/srv/trifed/federation"]
    assert courier["BindPaths"] == ["/srv/trifed/federation/flower"]


def test_the_proxy_publishes_what_hospitals_need_and_refuses_the_rest():
    text = re.sub(r"#.*", "", (SERVER / "nginx.conf").read_text("utf-8"))
    places = re.findall(r"location ([^{]+?)\s*{([^}]*)}", text)
    assert [name for name, _ in places] == [*OPEN, f"= {HEALTH}", "/"]
    assert "return 403" in places[-1][1]
    assert text.count("{") == text.count("}")


def test_the_proxy_checks_the_server_behind_it():
    text = (SERVER / "nginx.conf").read_text("utf-8")
    assert text.count("proxy_pass https://trifed;") == text.count("proxy_ssl_verify on;") == 2


@pytest.mark.parametrize("file", COMPOSE, ids=["server", "site"])
def test_containers_run_commands_that_there_are_and_as_nobody_special(file):
    services = yaml.safe_load(file.read_text("utf-8"))["services"]
    ours = {name: one for name, one in services.items() if one["image"] == "trifed"}
    assert ours
    for one in ours.values():
        assert build_parser().parse_args(one["command"]).foreground
        assert one["user"].split(":")[0].isdigit()
        assert one["cap_drop"] == ["ALL"]
        assert one["read_only"]


def test_what_holds_the_patients_has_no_network():
    services = yaml.safe_load(COMPOSE[1].read_text("utf-8"))["services"]
    assert services["service"]["network_mode"] == "none"
    assert not any("ports" in one for one in services.values())


def test_the_files_are_part_of_what_is_installed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packaged = project["tool"]["setuptools"]["package-data"]
    assert "deploy/files/*" in packaged["server"]
    assert "deploy/files/*" in packaged["client"]
    assert {path.parent for path in UNITS + COMPOSE} == {SERVER, CLIENT}
