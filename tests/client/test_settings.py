"""The site file: which keys go together."""

import pytest

from client.settings import SiteSettings
from shared.errors import ConfigError
from shared.strict_yaml import parse_settings

HEAD = "version: 1\nname: site_a\nrole: training\n"


def parse(text: str) -> SiteSettings:
    return parse_settings(HEAD + text, SiteSettings, name="site.yaml")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("disclose: [labels]", r"release\.rows"),
        ("disclose_of: [tune]", r"release\.rows_of"),
        ("release: {min_cell: 5}", r"dp\.max_epsilon"),
    ],
    ids=["disclose", "disclose_of", "release"],
)
def test_what_stands_in_the_policy_now_is_refused_with_its_new_place(text, key):
    old = text.partition(":")[0]
    says = rf"line 4: {old} stands in policy.yaml.*trifed site policy write.*{key}"
    with pytest.raises(ConfigError, match=says):
        parse(text)


def test_a_table_of_features_names_the_patients_unless_a_manifest_is_given():
    assert parse("").data.manifest == "manifest.csv"
    assert parse("data: {features: f.csv}").data.manifest is None
    assert parse("data: {features: f.csv, manifest: m.csv}").data.manifest == "m.csv"


def test_a_site_without_manifest_and_table_is_refused():
    with pytest.raises(ConfigError, match="only where features names a table"):
        parse("data: {manifest: null}")


def test_an_origin_without_a_table_is_refused():
    with pytest.raises(ConfigError, match="name the table"):
        parse("data: {features_from: elsewhere}")
