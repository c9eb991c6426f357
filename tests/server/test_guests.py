"""Guests test the models of a study that has ended: as they come, each by itself."""

import json
import shutil

import pytest

from client.looks import NAME
from client.service import SiteService
from server.aggregate import _identify_process
from server.coordinator import Coordinator
from server.deployed import DeployedFederation
from server.desk import Limits
from server.guest_list import added_sites, guests_to_ask
from server.guests import ask_guests
from server.joining.accept import accept
from server.joining.invite import invite
from server.progress import LoggedProgress
from server.status import StatusFile, StudyStatus
from server.study_folder import StudyFolder
from shared.config import digest
from shared.errors import ConfigError, FederationError, StoppedError
from tests.made_up_grid import Grid, Service, Time
from tests.made_up_joining import made_server
from tests.server.test_deployed_answers import answers_of
from tests.site_policies import write_policy

RUN = "0f" * 16
HOUR = 3600.0


@pytest.fixture
def run(finished_run, tmp_path):
    """What a finished run must have for its models to be shown again."""
    for name in ("study", "weights"):
        shutil.copytree(finished_run.out / name, tmp_path / "run" / name)
    shutil.copy(finished_run.out / "results.json", tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def guest(finished_run, tmp_path):
    """A hospital with the patients of the external site, under another name."""

    def make(name, *, min_cell=None):
        folder = tmp_path / name
        ignore = shutil.ignore_patterns(NAME, "book*")
        shutil.copytree(finished_run.out / "cohort" / "site_d", folder, ignore=ignore)
        site_file = folder / "site.yaml"
        site_file.write_text(site_file.read_text().replace("name: site_d", f"name: {name}"))
        if min_cell is not None:
            write_policy(site_file, f"release: {{min_cell: {min_cell}}}\n")
        return site_file

    return make


class World:
    """A server whose study has ended, and the hospitals that come online."""

    def __init__(self, run, study, guests):
        self.run, self.time = run, Time()
        self.grid = Grid(self.time)
        self.study, self.guests = study, guests
        told = StudyStatus(study.name, digest(study))
        roles = dict.fromkeys(guests, "external")
        self.status = StatusFile(run, told, RUN, roles, self.time.clock)

    def connect(self, node, site_file):
        name = site_file.parent.name
        service = SiteService.open(site_file, self.study, threads=1, guest=True)
        self.grid.connect(name, node, Service(self.time, name, answers_of(service)))

    def ask(self):
        federation = DeployedFederation(
            self.grid,
            self.status,
            run=RUN,
            folder=self.run,
            limits=Limits(HOUR),
            clock=self.time.clock,
        )
        saved = StudyFolder(self.run / "study")
        coordinator = Coordinator(self.study, federation, saved, self.run, LoggedProgress())
        ask_guests(self.guests, saved.load(), coordinator, federation)

    def results(self):
        return json.loads((self.run / "results.json").read_text())


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    _identify_process()
    monkeypatch.setattr("server.deployed.LOOK_S", 60.0)


@pytest.fixture
def settings(finished_run):
    from shared.config import load_study

    return load_study(finished_run.out / "study.yaml")


def test_a_guest_that_comes_days_later_is_asked_and_its_numbers_are_the_study_s_own(
    run, guest, settings
):
    world = World(run, settings, ["st_marys", "too_few"])
    late, refusing = guest("st_marys"), guest("too_few", min_cell=500)
    world.connect(1, refusing)
    world.time.at(50 * HOUR, lambda: world.connect(2, late))
    before = world.results()
    with pytest.raises(FederationError, match=r"the study is done.*too_few: E_FEDERATION") as told:
        world.ask()
    assert "E_SMALL_CELL" in str(told.value)
    assert "st_marys" not in str(told.value)
    after = world.results()
    assert after["external_sites"]["st_marys"] == before["external_sites"]["site_d"]
    assert after["external_looks"]["st_marys"]["by"] == "guest"
    assert "too_few" not in after["external_sites"]
    assert after["models"] == before["models"]
    assert added_sites(run) == {"st_marys"}
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "asked by the server after the study" in page
    assert world.time.now >= 50 * HOUR


def test_waiting_for_a_guest_ends_when_somebody_asks_for_it(run, settings):
    world = World(run, settings, ["st_marys"])
    world.time.at(HOUR, lambda: (run / "stop-requested").touch())
    with pytest.raises(StoppedError):
        world.ask()


@pytest.fixture
def server(tmp_path):
    return made_server(tmp_path / "coordinator")


def test_a_guest_is_invited_joins_and_waits_to_be_asked(server, tmp_path):
    from client.joining.join import join
    from tests.made_up_joining import bare_site

    (file,) = invite(server, guests=["st_marys"])
    assert file.name == "st_marys.trifed-invitation"
    assert guests_to_ask(server, server.path / "run") == []
    site = bare_site(tmp_path / "hospital", name="st_marys", role="external")
    joined = join(file, site)
    assert joined.folder.evaluates_only
    accepted = accept(server, joined.answer_file)
    assert (accepted.name, accepted.role) == ("st_marys", "external")
    assert guests_to_ask(server, server.path / "run") == ["st_marys"]
    (server.path / "run" / "guest-results").mkdir(parents=True)
    (server.path / "run" / "guest-results" / "st_marys.json").touch()
    assert guests_to_ask(server, server.path / "run") == []
    assert [path.name for path in invite(server)][-1] == file.name


@pytest.mark.parametrize(
    ("name", "says"),
    [("site_a", r"names this site already \(training\)"), ("St Mary's", "small letters")],
)
def test_who_cannot_be_a_guest_is_refused(server, name, says):
    with pytest.raises(ConfigError, match=says):
        invite(server, guests=[name])
    assert not server.guests_file.exists()


def test_a_guest_cannot_take_the_part_of_a_training_site(server, tmp_path):
    from client.joining.join import join
    from tests.made_up_joining import bare_site

    (file,) = invite(server, guests=["st_marys"])
    site = bare_site(tmp_path / "hospital", name="st_marys", role="training")
    with pytest.raises(ConfigError, match="role is training, but st_marys is invited as external"):
        join(file, site)
