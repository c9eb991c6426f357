"""The site file: which keys go together."""

import pytest

from client.settings import Release, SiteSettings
from shared.errors import ConfigError
from shared.strict_yaml import parse_settings

HEAD = "version: 1\nname: site_a\nrole: training\n"


def parse(text: str) -> SiteSettings:
    return parse_settings(HEAD + text, SiteSettings, name="site.yaml")


def test_five_patients_are_the_smallest_cell_unless_the_hospital_says_otherwise():
    assert parse("").release == Release(min_cell=5)
    assert parse("release: {min_cell: 3}").release.min_cell == 3


@pytest.mark.parametrize("n", [1, 2])
def test_a_cell_below_three_is_for_made_up_patients_alone(n):
    with pytest.raises(ConfigError, match=f"at least 3, not {n}; only made-up patients"):
        parse(f"release: {{min_cell: {n}}}")
    assert parse(f"synthetic: true\nrelease: {{min_cell: {n}}}").release.min_cell == n


@pytest.mark.parametrize("n", ["0", "-1", "2.5", "none"])
def test_a_cell_is_a_whole_number_above_zero(n):
    with pytest.raises(ConfigError, match="min_cell"):
        parse(f"synthetic: true\nrelease: {{min_cell: {n}}}")


def test_an_external_hospital_tells_a_summary_unless_it_says_more():
    assert parse("").release.external == "summary"
    assert parse("release: {external: binned}").release.external == "binned"
    with pytest.raises(ConfigError, match="external"):
        parse("release: {external: everything}")


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
