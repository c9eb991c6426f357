"""Packs and keys: every key has a value in each pack, a sentence, and a direction."""

import pytest

from client.policy.keys import KEYS, exceptions, said
from client.policy.packs import LOOSER, filled, pack_policy
from client.policy.settings import Policy
from shared.errors import ConfigError
from shared.strict_yaml import dump_settings, parse_settings
from tests.site_policies import EVERY_ROW, made_policy

HEAD = "version: 1\npack: standard\nvalid_until: 2031-05-01\n"
SECTIONS = ("cohort", "release", "train", "dp", "secagg", "refusals")
LOOSER_VALUES = {
    "cohort.min_patients": 29,
    "cohort.min_external": 19,
    "cohort.min_class": 9,
    "cohort.min_delta": 4,
    "cohort.differing": ("0123456789ab",),
    "release.min_cell": 4,
    "release.min_tail": 2,
    "release.max_score_bins": 101,
    "release.external": "binned",
    "release.exchange": ("statistics", "statistics+dp", "scores"),
    "release.legal_basis": "GDPR 9(2)(j)",
    "release.max_dimension": 9,
    "release.keep_rows_days": 366,
    "release.rows": ("labels",),
    "release.rows_of": ("tune", "train"),
    "train.max_rounds": 101,
    "train.min_batch": 7,
    "train.max_lr": 0.11,
    "train.max_epochs": 21,
    "train.min_steps": 2,
    "train.max_weight": 21.0,
    "train.max_growth": None,
    "dp.required": False,
    "dp.max_epsilon": None,
    "dp.max_fusion_epsilon": None,
    "dp.max_delta": 2e-5,
    "secagg.required": False,
    "refusals.most": 11,
}
NUMBERS = [key.name for key in KEYS if isinstance(LOOSER_VALUES[key.name], int | float | None)]
YES_OR_NO = ["dp.required", "secagg.required"]
NUMBERS = [name for name in NUMBERS if name not in YES_OR_NO]
LIMITS = ("dp.max_epsilon", "dp.max_fusion_epsilon", "train.max_growth")


def parse(text):
    return filled(parse_settings(HEAD + text, Policy, name="policy.yaml"))


def with_value(policy, name, value):
    section, _, key = name.partition(".")
    part = getattr(policy, section).model_copy(update={key: value})
    return policy.model_copy(update={section: part})


def test_the_keys_are_those_of_the_sections():
    found = {f"{s}.{key}" for s in SECTIONS for key in type(getattr(made_policy(), s)).model_fields}
    assert [key.name for key in KEYS] == list(LOOSER_VALUES)
    assert set(LOOSER_VALUES) == found
    assert set(Policy.model_fields) == {"version", "pack", "officer", "valid_until", *SECTIONS}


def test_a_pack_replaces_only_keys_that_there_are():
    named = {f"{s}.{k}" for pack in LOOSER.values() for s, keys in pack.items() for k in keys}
    assert named <= set(LOOSER_VALUES)


def test_a_file_without_keys_is_its_pack():
    assert parse("").release == pack_policy("standard").release
    assert parse("").train == pack_policy("standard").train


def test_a_key_in_the_file_takes_the_packs_place_and_no_others():
    found = parse("release: {min_cell: 5, rows: [labels]}\ndp: {max_epsilon: 4}\n")
    assert (found.release.min_cell, found.release.rows) == (5, ("labels",))
    assert found.dp.max_epsilon == 4.0
    assert found.release.exchange == ("statistics", "statistics+dp")
    assert (found.dp.required, found.train.max_rounds) == (False, 100)


def test_null_in_the_file_is_a_value_and_not_the_packs():
    text = HEAD.replace("standard", "strict") + "dp: {max_epsilon: null}\n"
    assert parse_settings(text, Policy, name="p").dp.max_epsilon is None
    assert filled(parse_settings(text, Policy, name="p")).dp.max_epsilon is None


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_each_pack_is_at_least_as_loose_as_the_one_before(key):
    strict, standard, simulation = (pack_policy(p) for p in ("strict", "standard", "simulation"))
    assert not key.is_looser(key.of(strict), key.of(standard))
    assert not key.is_looser(key.of(standard), key.of(simulation))


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_a_looser_value_is_an_exception_and_the_packs_own_is_none(key):
    pack = "strict" if key.name.startswith("dp.") else "standard"
    policy = pack_policy(pack)
    assert exceptions(policy) == []
    value = LOOSER_VALUES[key.name]
    (line,) = exceptions(with_value(policy, key.name, value))
    assert line.startswith(f"{key.name}: {said(value)}, where the pack {pack} has ")
    assert line.endswith(key.means)
    tighter = with_value(pack_policy("simulation"), key.name, key.of(pack_policy("strict")))
    assert exceptions(tighter) == []


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["-1", "-0.5", ".nan", ".inf", '"5"', "five", "true", "[5]"])
def test_a_number_must_be_one_and_not_below_zero(name, value):
    section, _, key = name.partition(".")
    with pytest.raises(ConfigError, match=rf"policy.yaml line 4: {name}"):
        parse(f"{section}: {{{key}: {value}}}\n")


@pytest.mark.parametrize("name", NUMBERS)
def test_only_counts_that_may_be_nobody_and_limits_that_may_be_none_can_be_zero_or_null(name):
    section, _, key = name.partition(".")
    for value, fine in (("0", name == "cohort.min_class"), ("null", name in LIMITS)):
        if fine:
            parse(f"{section}: {{{key}: {value}}}\n")
            continue
        with pytest.raises(ConfigError, match=name):
            parse(f"{section}: {{{key}: {value}}}\n")


@pytest.mark.parametrize("name", YES_OR_NO)
@pytest.mark.parametrize("value", ["1", '"false"', "maybe", "null"])
def test_yes_or_no_must_be_one_of_both(name, value):
    section, _, key = name.partition(".")
    with pytest.raises(ConfigError, match=name):
        parse(f"{section}: {{{key}: {value}}}\n")


def test_an_empty_list_allows_nothing():
    found = parse("release: {rows: [], rows_of: [], exchange: []}\n").release
    assert (found.rows, found.rows_of, found.exchange) == ((), (), ())


def test_one_mode_may_stand_without_brackets():
    assert parse("release: {exchange: scores}\n").release.exchange == ("scores",)


@pytest.mark.parametrize("basis", ["", '""', '"  "'])
def test_embeddings_need_a_legal_basis_in_words(basis):
    said_so = f", legal_basis: {basis}" if basis else ""
    with pytest.raises(ConfigError, match="name the legal basis"):
        parse(f"release: {{exchange: [statistics, embeddings]{said_so}}}\n")
    parse('release: {exchange: [embeddings], legal_basis: "GDPR 9(2)(j), DUA 17"}\n')


def test_of_the_packs_for_real_patients_none_allows_more_than_sums():
    for pack in ("strict", "standard"):
        assert set(pack_policy(pack).release.exchange) == {"statistics", "statistics+dp"}


def test_a_policy_written_out_reads_back_the_same():
    for pack in ("strict", "standard", "simulation"):
        policy = pack_policy(pack)
        assert filled(parse_settings(dump_settings(policy), Policy, name="p")) == policy


def test_only_the_pack_for_made_up_patients_lets_rows_of_patients_leave():
    assert pack_policy("strict").release.rows == pack_policy("standard").release.rows == ()
    assert set(pack_policy("simulation").release.rows) == set(EVERY_ROW)
