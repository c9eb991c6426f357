"""What a study asks beyond the policy is refused before anything is computed, naming both keys."""

import numpy as np
import pytest

from client.check.doctor import check_site
from client.policy.beyond import beyond, refuse_beyond
from client.policy.keys import KEYS
from client.policy.rounds import count_round
from client.serve import serve
from client.service import SiteService
from client.settings import SiteSettings
from client.site import open_site
from client.stages.train_branches import check_round
from shared.errors import CohortError, PolicyError, SmallCellError
from shared.networks import build_network, get_weights
from shared.stages.describe_cohort import Request as Describe
from shared.stages.train_branches import Request
from shared.strict_yaml import parse_settings
from tests.conftest import flat_branch
from tests.site_policies import changed_policy, made_policy, write_policy, write_whole_policy

NOISE = {"cnn": {"noise_multiplier": 1.0, "epsilon": 6.0, "delta": 1e-5}}
ONES = np.ones(3, np.float32)
ROWS = ("labels", "embeddings", "radiomics_score", "clinical")


def settings(role="training", more=""):
    text = f"version: 1\nname: site_a\nrole: {role}\n{more}"
    return parse_settings(text, SiteSettings, name="site.yaml")


def asking(study, change, **training):
    """Three sites and one branch: 10 rounds, batches of 8, a rate of .001, and noise."""
    chosen = {"rounds": 10, "batch_size": 8, "learning_rate": 0.001, "local_epochs": 2} | training
    branch = flat_branch()[0] | {"name": "flat", "training": chosen}
    sites = {"training": ["site_a", "site_b", "site_c"]}
    return change(study, branches=[branch], dp=NOISE, sites=sites)


@pytest.fixture
def exact(study, change):
    """A study, and the policy that allows just what it asks."""
    release = {"exchange": ("embeddings",), "rows": ROWS, "rows_of": ("tune",)}
    train = {"max_rounds": 10, "min_batch": 8, "max_lr": 0.001, "max_epochs": 2}
    dp = {"required": True, "max_epsilon": 6.0, "max_delta": 1e-5}
    return asking(study, change), made_policy("strict", release=release, train=train, dp=dp)


TIGHTER = {
    "release.exchange": (("scores", "statistics"), "fusion.exchange"),
    "release.max_dimension": (1, "embedding.dimension"),
    "release.rows": (ROWS[1:], "fusion.inputs"),
    "release.rows_of": (("train",), "fusion.fit_on"),
    "train.max_rounds": (9, "training.rounds"),
    "train.min_batch": (9, "training.batch_size"),
    "train.max_lr": (0.0009, "training.learning_rate"),
    "train.max_epochs": (1, "training.local_epochs"),
    "dp.max_epsilon": (5.9, "dp.cnn.epsilon"),
    "dp.max_delta": (9e-6, "dp.cnn.delta"),
}
EXCHANGES = ("statistics", "statistics+dp", "scores", "embeddings+dp", "embeddings")
OF_THE_COHORT = ("cohort.min_patients", "cohort.min_external", "cohort.min_class")
ELSEWHERE = {
    **dict.fromkeys(OF_THE_COHORT, "held against the cohort that is there"),
    "cohort.min_delta": "held against the cohorts that were told of before",
    "cohort.differing": "names cohorts",
    "release.min_cell": "held against each number",
    "release.min_tail": "held against each count",
    "release.max_score_bins": "a study with more is told of in fewer",
    "release.external": "no study asks for a level",
    "train.min_steps": "held against the patients that there are",
    "train.max_weight": "held against each round",
    "train.max_growth": "held against each round",
    "release.keep_rows_days": "told with the rows",
    "release.legal_basis": "held against the policy's own release.exchange",
    "dp.required": "see the test of a study without noise",
    "dp.max_fusion_epsilon": "see the test of a fusion layer with noise",
    "secagg.required": "see the test of a study that needs a hospital's own sums",
    "refusals.most": "no study asks for it",
}


def test_every_key_is_held_against_the_study_or_named_as_one_that_is_not():
    assert {key.name for key in KEYS} == set(TIGHTER) | set(ELSEWHERE)


def test_a_study_that_asks_for_just_what_is_allowed_is_not_refused(exact):
    study, policy = exact
    assert beyond(policy, study, settings()) == []
    refuse_beyond(policy, study, settings())


@pytest.mark.parametrize("name", TIGHTER)
def test_a_study_looser_than_the_policy_is_refused_by_both_keys(exact, name):
    study, policy = exact
    (key,) = (key for key in KEYS if key.name == name)
    value, asked = TIGHTER[name]
    (line,) = beyond(key.set(policy, value), study, settings())
    assert line.startswith(asked)
    assert f"{name} of the policy" in line
    with pytest.raises(PolicyError, match=rf"asks for more than policy\.yaml.*\n  - {asked}"):
        refuse_beyond(key.set(policy, value), study, settings())


def test_everything_that_is_asked_beyond_is_named_at_once(exact):
    study, policy = exact
    for key in KEYS:
        if key.name in TIGHTER:
            policy = key.set(policy, TIGHTER[key.name][0])
    assert len(beyond(policy, study, settings())) == len(TIGHTER)


@pytest.mark.parametrize(("key", "value"), [("required", True), ("max_epsilon", 100.0)])
def test_a_study_without_noise_is_refused_where_noise_is_demanded_or_limited(exact, key, value):
    study, policy = exact
    plain = study.model_copy(update={"dp": None})
    free = changed_policy(policy, dp={"required": False, "max_epsilon": None})
    assert beyond(free, plain, settings()) == []
    (line,) = beyond(changed_policy(free, dp={key: value}), plain, settings())
    assert f"dp.{key} of the policy" in line


@pytest.mark.parametrize("mode", EXCHANGES)
def test_a_mode_is_allowed_by_its_own_name_and_by_no_other(exact, change, mode):
    study, policy = exact
    fusion = {"exchange": mode, "penalties": [3.0]}
    rows = (*ROWS, "scores")
    names = set(EXCHANGES)
    asked = change(study, fusion=fusion, embedding={"reduce": "pooled"})
    named = changed_policy(policy, release={"exchange": (mode,), "rows": rows})
    assert beyond(named, asked, settings()) == []
    others = changed_policy(policy, release={"exchange": tuple(names - {mode}), "rows": rows})
    (line,) = beyond(others, asked, settings())
    assert line.startswith(f"fusion.exchange of the study is {mode}, and release.exchange")


def test_a_fusion_layer_with_noise_is_held_to_its_own_limits_and_to_that_of_all(exact, change):
    study, policy = exact
    fusion = {"exchange": "statistics+dp", "penalties": [3.0], "dp": {"epsilon": 4.0}}
    asked = change(study, fusion=fusion, dp=None, branches=flat_branch())
    policy = changed_policy(policy, release={"exchange": ("statistics+dp",)})
    free = changed_policy(policy, dp={"required": False, "max_epsilon": None},
                          train={"max_rounds": 10, "min_batch": 2, "max_lr": 1.0})  # fmt: skip
    assert beyond(free, asked, settings()) == []
    for key, value in (("max_fusion_epsilon", 3.9), ("max_delta", 9e-6)):
        (line,) = beyond(changed_policy(free, dp={key: value}), asked, settings())
        assert line.startswith("fusion.dp.")
        assert f"dp.{key} of the policy" in line
    both = change(study, fusion=fusion)
    (line,) = beyond(changed_policy(policy, dp={"max_epsilon": 3.9}), both, settings())[1:]
    assert line.startswith("fusion.dp.epsilon of the study is 4, and dp.max_epsilon")


NEEDS = {
    "secagg": {"secagg": "off"},
    "sites.training": {"sites": {"training": ["site_a", "site_b"]}},
    "standardise.harmonise": {"standardise": {"harmonise": "combat"}},
    "aggregation.strategy": {"aggregation": {"strategy": "FedMedian"}},
    "aggregation.updates": {"aggregation": {"updates": "bf16"}},
    "aggregation.quorum": {"aggregation": {"quorum": 2}},
}


@pytest.mark.parametrize("name", NEEDS)
def test_a_study_that_needs_a_hospitals_own_sums_is_refused_where_they_are_hidden(
    exact, change, name
):
    study, policy = exact
    (line,) = beyond(policy, change(study, **NEEDS[name]), settings())
    assert line.startswith(name)
    assert line.endswith("and secagg.required of the policy is true")
    told = changed_policy(policy, secagg={"required": False})
    assert beyond(told, change(study, **NEEDS[name]), settings()) == []


def test_each_branch_is_held_to_the_limits(study, change):
    policy = made_policy(train={"max_rounds": 3})
    branches = [flat_branch()[0] | {"name": name, "training": {"rounds": n}}
                for name, n in (("one", 3), ("two", 4), ("three", 5))]  # fmt: skip
    lines = beyond(policy, change(study, branches=branches), settings())
    assert [line.partition(" is ")[0] for line in lines] == [
        "training.rounds of the study's branch two",
        "training.rounds of the study's branch three",
    ]


def test_an_external_site_is_asked_for_nothing_beyond(exact):
    study, _ = exact
    assert beyond(made_policy("strict"), study, settings("external")) == []


def test_a_site_of_a_table_trains_no_network_and_has_no_embedding(exact):
    study, policy = exact
    found = changed_policy(
        policy, train={"max_rounds": 1}, release={"rows": (*ROWS[:1], *ROWS[2:])}
    )
    assert len(beyond(found, study, settings())) == 2
    table = settings(more="data: {features: f.csv}\n")
    assert beyond(found, study, table) == []
    sums_only = changed_policy(found, release={"exchange": ("statistics",)})
    assert len(beyond(sums_only, study, table)) == 1


@pytest.fixture
def hospital(make_site, tmp_path):
    return make_site(tmp_path / "site_a", n=8)


@pytest.mark.parametrize("way", ["open", "service", "serve"])
def test_a_site_does_not_open_for_a_study_beyond_its_policy(hospital, study, tmp_path, way):
    write_policy(hospital, "release: {min_cell: 1, rows: [labels]}\n")
    opens = {
        "open": lambda: open_site(hospital, study, threads=1),
        "service": lambda: SiteService.open(hospital, study, threads=1),
        "serve": lambda: serve(hospital, study, tmp_path / "s.sock"),
    }
    with pytest.raises(PolicyError, match=r"release\.rows of the policy lacks embeddings"):
        opens[way]()
    assert not (hospital.parent / "cache").exists()


def test_the_check_says_so_beforehand_and_what_is_told_to_nobody_runs(hospital, study):
    write_policy(hospital, "release: {min_cell: 1, rows: [labels]}\n")
    problems = check_site(hospital, study, threads=1).problems
    assert [p for p in problems if "release.rows of the policy lacks embeddings" in p]
    assert len(open_site(hospital, study, threads=1, local=True).everyone) == 8


def test_the_check_says_that_there_is_no_policy(hospital, study):
    (hospital.parent / "policy.yaml").unlink()
    report = check_site(hospital, study, threads=1)
    assert not report.ready
    assert "there is no policy" in report.problems[0]


@pytest.mark.parametrize("name", OF_THE_COHORT)
def test_a_cohort_smaller_than_the_policy_demands_does_not_open(make_site, tmp_path, study, name):
    role = "external" if name.endswith("external") else "training"
    site = "site_d" if role == "external" else "site_a"
    key, n = name.partition(".")[2], 4 if name.endswith("class") else 8
    site_file = make_site(tmp_path / "site", n=8, role=role, name=site)
    write_policy(site_file, f"cohort: {{{key}: {n}}}\n")
    assert len(open_site(site_file, study, threads=1).everyone) == 8
    write_policy(site_file, f"cohort: {{{key}: {n + 1}}}\n")
    with pytest.raises(CohortError, match=rf"cohort\.{key} of policy\.yaml demands {n + 1}"):
        open_site(site_file, study, threads=1)
    problems = check_site(site_file, study, threads=1).problems
    assert [problem for problem in problems if f"cohort.{key}" in problem]


def test_a_number_over_too_few_is_refused_by_the_policy(hospital, study):
    write_policy(hospital, "release: {min_cell: 9}\n")
    with pytest.raises(SmallCellError, match=r"release\.min_cell in policy\.yaml"):
        SiteService.open(hospital, study, threads=1).answer("describe_cohort", Describe())


@pytest.mark.parametrize("number", [-1, 0, 3, 10**9])
def test_a_round_that_neither_study_nor_policy_has_is_refused(hospital, study, change, number):
    asked = change(study, branches=[flat_branch()[0] | {"name": "flat"}])
    rounds = asked.branches[0].training.rounds
    assert rounds == 1
    service = SiteService.open(hospital, asked, threads=1)
    network = service.bench.network("flat")
    weights = get_weights(build_network(network, seed=1))
    with pytest.raises(PolicyError, match=rf"round {number} was asked for; the study trains 1"):
        service.answer("train_branch", Request("flat", number, weights, True, 0.0))
    check_round(service.bench, Request("flat", 1, weights, True, 0.0))


def test_one_round_from_ever_other_weights_is_counted_over_restarts(hospital, study, change):
    asked = change(study, branches=[flat_branch()[0] | {"name": "flat"}])
    write_policy(hospital, "release: {min_cell: 1}\ntrain: {max_rounds: 2}\n")

    def ask(seed):
        service = SiteService.open(hospital, asked, threads=1)
        weights = get_weights(build_network(service.bench.network("flat"), seed=seed))
        return service.answer("train_branch", Request("flat", 1, weights, True, 0.0))

    for seed in (1, 1, 2):
        assert ask(seed).n_cases
    with pytest.raises(PolicyError, match=r"2 rounds of this study here.*train\.max_rounds"):
        ask(3)


def test_a_count_that_cannot_be_read_is_no_count(tmp_path):
    policy = made_policy(train={"max_rounds": 2})
    count_round(tmp_path, policy, study="b" * 64, network="flat", number=1, begins=ONES)
    (file,) = (tmp_path / "trained" / ("b" * 16)).iterdir()
    file.write_text("-5")
    with pytest.raises(PolicyError, match="does not say how often"):
        count_round(tmp_path, policy, study="b" * 64, network="flat", number=1, begins=ONES)


def test_rounds_are_counted_for_each_network_of_each_study_and_a_repeated_one_once(tmp_path):
    policy = made_policy(train={"max_rounds": 2})

    def count(study="a", network="flat", number=1, begins=ONES, **more):
        asked = {"number": number, "begins": begins, **more}
        count_round(tmp_path, policy, study=study * 64, network=network, **asked)

    for _ in range(3):
        count()
    count(study="b")
    count(network="deep")
    count(begins=2 * ONES)
    for other in ({"number": 2}, {"begins": 3 * ONES}, {"ways": (0.5, 1.0)}):
        with pytest.raises(PolicyError, match="2 rounds of this study here"):
            count(**other)
    count()


def test_a_question_after_the_last_day_is_refused(hospital, study):
    service = SiteService.open(hospital, study, threads=1)
    assert service.answer("describe_cohort", Describe())
    write_whole_policy(hospital, "version: 1\npack: simulation\nvalid_until: 2001-01-01\n")
    with pytest.raises(PolicyError, match="valid_until is 2001-01-01"):
        service.answer("describe_cohort", Describe())


@pytest.mark.parametrize("change_it", ["remove", "open to others", "another limit"])
def test_a_question_after_the_policy_was_touched_is_refused(hospital, study, change_it):
    service = SiteService.open(hospital, study, threads=1)
    path = hospital.parent / "policy.yaml"
    touched = {
        "remove": path.unlink,
        "open to others": lambda: path.chmod(0o666),
        "another limit": lambda: write_policy(hospital, "release: {min_cell: 2}\n"),
    }
    touched[change_it]()
    with pytest.raises(PolicyError):
        service.answer("describe_cohort", Describe())
