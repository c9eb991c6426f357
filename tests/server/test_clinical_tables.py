"""Table 1 and the clinical regressions of two hospitals' files, asked and verified in small."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np
import pytest

from client.service import SiteService
from client.stages.describe_cohort import described
from server.clinical_results import clinical_results
from server.cohort_results import table_one
from server.coordinator import Coordinator
from server.plain import clean
from server.stages import clinical_model, describe_cohort
from server.study import ExternalRecord, Identity, Study
from server.study_folder import StudyFolder
from shared.errors import CodecError
from shared.regressions import Terms
from shared.stages.clinical_model import StepRequest
from simulation.verification.clinical_model import check_clinical
from simulation.verification.cohort import PooledCohort, check_cohorts
from tests.server.test_report_numbers import told, unlisted

SITES = ("site_a", "site_b")


@dataclass
class Hospitals:
    """A federation of site services that keeps the questions."""

    services: dict
    asked: list = field(default_factory=list)

    def ask(self, question, request, sites, **_):
        self.asked.append(question.name)
        return {site: self.services[site].answer(question.name, request) for site in sites}

    def sites(self):
        return [service.bench.site for service in self.services.values()]

    def pooled(self, settings):
        """What `pool_rows` has of clinical data."""
        rows = [
            (
                site.clinical(site.training, settings.clinical.predictors),
                site.labels(site.training),
                np.full(len(site.training.cases), site.settings.name),
            )
            for site in self.sites()
        ]
        parts = (np.concatenate(column) for column in zip(*rows, strict=True))
        return SimpleNamespace(**dict(zip(("clinical", "labels", "sites"), parts, strict=True)))

    def cohort(self, settings):
        rows = [
            (site.clinical(site.everyone, described(settings)), site.labels(site.everyone))
            for site in self.sites()
        ]
        return PooledCohort(*(np.concatenate(column) for column in zip(*rows, strict=True)))


def separated(text):
    """The clinical table with 'sessile' where the label is positive."""
    head, *lines = text.splitlines()
    cells = [line.split(",") for line in lines]
    lines = [
        f"{p},{ihc},{'yes' if ihc in ('2+', '3+') else 'no'},{age}" for p, ihc, _, age in cells
    ]
    return "\n".join([head, *lines]) + "\n"


@pytest.fixture
def hospitals(tmp_path, make_site, study):
    """Eighteen patients at one, twelve at the other; a blank age at the first."""

    def opened(change=lambda text: text):
        services = {}
        for site, n in zip(SITES, (18, 12), strict=True):
            path = make_site(tmp_path / site, n=n, name=site, split=True)
            table = path.with_name("clinical.csv")
            table.write_text(change(table.read_text()).replace(",63\n", ",\n"))
            services[site] = SiteService.open(path, study, threads=1)
        return Hospitals(services)

    return opened


def ran(stage, hospitals, study, folder):
    """The study after one stage, as read back from its folder."""
    kept = StudyFolder(folder)
    kept.begin(Identity("s", "c"))
    stage.run(Study(), Coordinator(study, hospitals, kept, folder, progress=None))
    return kept.load()


def test_table_one_is_that_of_the_patients_in_thirteen_questions(hospitals, study, tmp_path):
    federation = hospitals()
    found = ran(describe_cohort, federation, study, tmp_path / "run")
    assert federation.asked == ["describe_cohort"] + ["count_variables"] * 12
    found = replace(found, external_evaluate=ExternalRecord("h", {}, False))
    checks = check_cohorts(found, {"": federation.cohort(study)}, study)
    assert len(checks) == 4
    assert max(check.largest_difference for check in checks) <= 1e-8
    record = found.describe_cohort
    sessile, age = table_one(list(record.sites.values()), record.quartiles)
    assert [age["groups"][g]["missing"] for g in ("all", "positive", "negative")] == [2, 2, 0]
    assert "quartiles" not in sessile["groups"]["all"]
    values = federation.cohort(study).group("all", 1)
    middle = np.quantile(values, 0.5, method="inverted_cdf")
    assert age["groups"]["all"]["quartiles"][1] == pytest.approx(middle, abs=0.02)


@pytest.mark.parametrize("change", [
    lambda t: replace(t, negative=t.negative + 0.5),
    lambda t: replace(t, together=t.together - 0.1),
], ids=["too large", "too small"])  # fmt: skip
def test_a_quartile_that_is_off_is_found(hospitals, study, tmp_path, change):
    federation = hospitals()
    found = ran(describe_cohort, federation, study, tmp_path / "run")
    record = found.describe_cohort
    broken = replace(
        found,
        describe_cohort=replace(record, quartiles=change(record.quartiles)),
        external_evaluate=ExternalRecord("h", {}, False),
    )
    checks = check_cohorts(broken, {"": federation.cohort(study)}, study)
    assert checks[-1].largest_difference > 1e-6


@pytest.mark.parametrize(("change", "method"), [
    (lambda text: text, "likelihood"), (separated, "firth"),
], ids=["apart", "separated"])  # fmt: skip
def test_the_regressions_are_those_of_the_pooled_rows(hospitals, study, tmp_path, change, method):
    federation = hospitals(change)
    found = ran(clinical_model, federation, study, tmp_path / "run")
    checks = check_clinical(found, federation.pooled(study), study)
    assert max(check.largest_difference for check in checks) <= 1e-8
    assert found.clinical_model.together.method == method
    assert ("clinical_hats" in federation.asked) == (method == "firth")
    told = clinical_results(found, study)["regressions"]
    assert list(told["univariable"]) == ["sessile", "age"]
    assert [entry["predictor"] for entry in told["by_site"]["coefficients"]] == ["sessile", "age"]
    model = found.clinical_model.model.coefficients
    assert told["multivariable"]["coefficients"][0]["coefficient"] == model[1]


def test_every_number_of_them_is_on_record_with_where_it_is_printed(hospitals, study, tmp_path):
    federation = hospitals(separated)
    cohort = ran(describe_cohort, federation, study, tmp_path / "one").describe_cohort
    model = ran(clinical_model, federation, study, tmp_path / "two")
    first = cohort.sites["site_a"]
    results = clean(
        {
            "cohort": {
                "table": table_one(list(cohort.sites.values()), cohort.quartiles),
                "external": {"site_d": {"table": table_one([first])}},
            },
            "clinical": clinical_results(model, study),
            "confidence_level": 0.95,
        }
    )
    assert [number["id"] for number in told(results) if number["kind"] == "unknown"] == []
    assert unlisted(results) == {}
    printed = {number["id"]: number["printed"] for number in told(results)}
    place = "tables/characteristics-site_d.csv"
    assert place in printed["cohort.external.site_d.table.age.smd"]
    regression = printed["clinical.regressions.multivariable.coefficients.age.odds_ratio"]
    assert "tables/clinical-regression.csv" in regression


def test_a_hospital_answers_only_the_studys_own_regressions(hospitals):
    service = hospitals().services["site_a"]
    means = np.array([0.5, 65.0])
    for terms in ((Terms(("her2_ihc",)),), (Terms(("age", "sessile")),)):
        with pytest.raises(CodecError, match="does not report"):
            service.answer("clinical_step", StepRequest(means, terms, (np.zeros(2),)))
    with pytest.raises(CodecError, match="needs its coefficients"):
        service.answer("clinical_step", StepRequest(means, (Terms(("age",)),), ()))
