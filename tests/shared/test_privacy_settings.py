import pytest

from shared.config import Study
from shared.errors import ConfigError
from shared.strict_yaml import dump_settings, parse_settings

DP = {"cnn": {"noise_multiplier": 2.0, "epsilon": 8.0}}


def test_no_study_has_it_unasked(study):
    assert study.dp is None


def test_the_defaults_are_the_documented_ones(study, change):
    private = change(study, dp=DP).dp.cnn
    assert (private.delta, private.clip_norm, private.max_batch) == (1e-5, 1.0, 8)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("{noise_multiplier: 0.0, epsilon: 8.0}", "noise_multiplier"),
        ("{noise_multiplier: 1.0, epsilon: 0.0}", "epsilon"),
        ("{noise_multiplier: 1.0, epsilon: 1000.0}", "epsilon"),
        ("{noise_multiplier: 1.0, epsilon: 8.0, delta: 0.5}", "delta"),
        ("{noise_multiplier: 1.0, epsilon: 8.0, clip_norm: 0.0}", "clip_norm"),
        ("{noise_multiplier: 1.0, epsilon: 8.0, max_batch: 0}", "max_batch"),
        ("{noise_multiplier: 1.0}", "epsilon"),
        ("{noise_multiplier: 1.0, epsilon: 8.0, seed: 1}", "seed"),
    ],
)
def test_what_protects_nobody_is_refused_by_key(study, text, key):
    whole = dump_settings(study).replace("dp: null", f"dp: {{cnn: {text}}}")
    with pytest.raises(ConfigError, match=key):
        parse_settings(whole, Study, name="study.yaml")


def test_without_networks_there_is_nothing_to_train_privately(study, change):
    with pytest.raises(ValueError, match="no branches"):
        change(study, dp=DP, branches=[], fusion={"inputs": ["clinical"]})
