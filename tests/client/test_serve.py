import io
import logging
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import trifed
from client import serve as module
from client.courier import deliver
from client.serve import Stopped, logged_to, stopped_by_signal
from shared.config import Study, digest
from shared.errors import ConfigError, ServiceError
from shared.identity import code_hash, versions
from shared.letter import write_letter, written
from shared.models import Extraction
from shared.stages import describe_cohort, hello, standardise
from shared.stages.roll_call import SiteName
from shared.strict_yaml import parse_settings
from shared.talk import question, refused, roll_call, still_at_work
from simulation.local import LocalFederation
from tests.conftest import STUDY, write_site

ROOT = Path(__file__).parents[2]
RUN = "0a" * 16
PATIENT = "DOE^JOHN"


@pytest.fixture(scope="module")
def study():
    return parse_settings(STUDY, Study, name="study.yaml")


@pytest.fixture(scope="module")
def site():
    """A hospital that joined the study, in a folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="tri") as folder:
        site_file = write_site(Path(folder) / "site")
        (site_file.parent / "federation").mkdir()
        (site_file.parent / "federation" / "study.yaml").write_text(STUDY)
        yield site_file


@pytest.fixture
def served(site):
    """`trifed site serve` as a process; its socket, and the process."""
    command = [sys.executable, "-m", "trifed", "site", "serve", str(site)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    path = site.parent / "federation" / "service.sock"
    end = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.05)
    yield path, process
    process.kill()
    process.communicate()


def as_bytes(letter):
    stream = io.BytesIO()
    write_letter(stream, letter)
    return stream.getvalue()


def answer_of(path, letter):
    """Ask until the answer is there."""
    while still_at_work(reply := deliver(path, letter)) is not None:
        pass
    return reply


@pytest.mark.slow
def test_a_served_site_answers_as_the_federation_in_one_process_does(served, site, study, tmp_path):
    path, process = served
    assert as_bytes(deliver(path, roll_call())) == as_bytes(written(SiteName("site_a")))
    requests = {
        "hello": hello.Request(code_hash(), digest(study), versions()),
        "describe_cohort": describe_cohort.Request(),
        "standardise": standardise.Request(Extraction(dict.fromkeys(study.phases, 25.0))),
    }
    oracle = LocalFederation({"site_a": write_site(tmp_path / "site")}, study, threads=1)
    for name, request in requests.items():
        expected = written(oracle.service("site_a").answer(name, request))
        found = answer_of(path, question(name, RUN, request))
        assert refused(found) is None
        assert as_bytes(found) == as_bytes(expected)
    assert refused(deliver(path, question("get_images", RUN, SiteName("x")))) == "E_CODEC"

    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=150)
    assert process.returncode == 0, said
    assert not path.exists()
    assert "site_a opens for the study tiny" in said
    assert "standardise: answered in" in said
    log = site.parent / "federation" / "service.log"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert "stopped; what was answered is kept" in log.read_text()


@pytest.mark.slow
def test_a_site_that_is_stopped_while_it_opens_leaves_at_once(served):
    path, process = served
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=150)
    assert process.returncode == 0, said
    assert not path.exists()
    with pytest.raises(ServiceError):
        deliver(path, roll_call())


def test_without_a_study_it_is_said_what_to_do(tmp_path, make_site, capsys):
    assert trifed.main(["site", "serve", str(make_site(tmp_path))]) == 1
    told = capsys.readouterr().err
    assert "E_CONFIG" in told
    assert "trifed site join" in told
    assert not (tmp_path / "federation").exists()


def test_a_site_that_the_study_does_not_name_is_not_served(tmp_path, make_site, study):
    stranger = make_site(tmp_path, name="site_x")
    with pytest.raises(ConfigError, match="site_x"):
        module.serve(stranger, study, tmp_path / "s")
    assert not (tmp_path / "cache").exists()


def test_a_guest_is_served_but_not_in_a_training_sites_name(
    tmp_path, make_site, study, monkeypatch
):
    opened = []

    def opening(*_arguments, **options):
        opened.append(options)
        raise Stopped

    monkeypatch.setattr(module.SiteService, "open", opening)
    guest = make_site(tmp_path / "guest", name="st_marys", role="external")
    module.serve(guest, study, tmp_path / "s", guest=True)
    assert opened[0]["guest"]
    posing = make_site(tmp_path / "posing", name="site_a", role="external")
    with pytest.raises(ConfigError, match="site_a"):
        module.serve(posing, study, tmp_path / "s", guest=True)


def test_the_term_signal_is_no_error_that_an_answer_could_catch():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped), stopped_by_signal():
        signal.raise_signal(signal.SIGTERM)
    assert not issubclass(Stopped, Exception)
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_hospitals_log_tells_all_to_its_user_alone_and_does_not_grow(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LOG_BYTES", 1000)
    log = logging.getLogger("trifed.site.test")
    with logged_to(tmp_path / "federation" / "service.log"):
        for _ in range(100):
            log.error("no mask of %s", PATIENT)
    log.error("after the end")
    files = sorted((tmp_path / "federation").iterdir())
    assert len(files) == 1 + module.LOGS_KEPT
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    assert all(file.stat().st_size <= 1000 for file in files)
    assert files[0].read_text().endswith(f"ERROR no mask of {PATIENT}\n")


def test_a_log_that_cannot_be_written_is_told_in_words(tmp_path):
    (tmp_path / "federation").write_text("a file")
    with (
        pytest.raises(ConfigError, match="log cannot be written"),
        logged_to(tmp_path / "federation" / "service.log"),
    ):
        pass
