"""Settings that a person, or somebody else, wrote: typed, plain, and refused with their line."""

import pytest

from client.settings import load_site_settings
from shared.config import load_study
from shared.errors import ConfigError
from tests.adversarial.hospital import names_nobody, row
from tests.conftest import STUDY

SITE = "version: 1\nname: site_a\nrole: training\n"
DEEP = "cohort:\n" + "".join(f"{'  ' * depth}a:\n" for depth in range(1, 60))
ALIASES = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
FILES = [
    row("T44", "a bomb of aliases", SITE + ALIASES, "line 4"),
    row("T44", "a key twice", SITE + "device: {threads: 5, threads: 3}\n", "line 4"),
    row("T44", "a tag of Python", SITE + "cache: !!python/object/apply:os.system [id]\n", "line 4"),
    row("T44", "a tag", SITE + "cache: !!binary aGk=\n", "line 4"),
    row("T44", "five megabytes", SITE + "cache: " + "x" * 5_000_000, "5,0.* bytes"),
    row("T19", "nested sixty deep", SITE + DEEP, r"line \d+"),
    row("T45", "NO for a name", SITE.replace("site_a", "NO"), "line 2"),
    row("T45", "012 for a number", SITE + "device: {threads: 012}\n", "line 4"),
    row("T45", "1e3 for a whole number", SITE + "device: {threads: 1e3}\n", "line 4"),
    row("T45", ".inf", SITE + "device: {threads: .inf}\n", "line 4"),
    row("T45", ".nan", SITE + "device: {threads: .nan}\n", "line 4"),
    row("T45", "a truth for a number", SITE + "device: {threads: true}\n", "line 4"),
    row("T45", "text for a number", SITE + "device: {threads: '5'}\n", "line 4"),
    row("T45", "a number for text", SITE + "cache: 5\n", "line 4"),
    row("T19", "a key that is none", SITE + "min_cohrot: 5\n", "line 4"),
    row("T19", "a key that is none, inside", SITE + "device: {thread: 5}\n", "line 4"),
]


@pytest.mark.parametrize(("text", "words"), FILES)
def test_a_site_file_is_refused_with_its_line(tmp_path, text, words):
    (tmp_path / "site.yaml").write_text(text)
    with pytest.raises(ConfigError, match=words) as refusal:
        load_site_settings(tmp_path / "site.yaml")
    assert refusal.value.code == "E_CONFIG"


def test_the_same_file_without_the_fault_is_taken(tmp_path):
    (tmp_path / "site.yaml").write_text(SITE + "device: {threads: 5}\ncache: '2026-01-02'\n")
    assert load_site_settings(tmp_path / "site.yaml").device.threads == 5


@pytest.mark.row("T45")
def test_a_date_stays_the_text_that_it_is(tmp_path):
    (tmp_path / "site.yaml").write_text(SITE + "cache: 2026-01-02\n")
    assert load_site_settings(tmp_path / "site.yaml").cache == "2026-01-02"


BRANCH = "branches:\n  - {name: flat, kind: 2.5d, network: resnet10, training: {%s}}\n"
STUDIES = [
    row("T20", "batches of one", BRANCH % "batch_size: 1", "batch_size"),
    row("T20", "no round", BRANCH % "rounds: 0", "rounds"),
    row("T20", "a learning rate of nothing", BRANCH % "learning_rate: 0", "learning_rate"),
    row("T19", "an expression", BRANCH % "rounds: $(2**30)", "rounds"),
    row("T19", "an expression of Hydra's", BRANCH % "rounds: '${oc.env:N}'", "rounds"),
]


@pytest.mark.parametrize(("branch", "key"), STUDIES)
def test_a_study_file_is_refused_with_its_key(tmp_path, branch, key):
    start, _, end = STUDY.partition("branches:")
    text = start + branch + end[end.index("fusion:") :]
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(ConfigError, match=rf"line \d+: .*{key}"):
        load_study(tmp_path / "study.yaml")


@pytest.mark.row("T33")
@pytest.mark.parametrize("name", ["DOE^JOHN", "MRN0012345", "site a", "../site"])
def test_the_name_of_a_site_is_a_plain_word(tmp_path, name):
    (tmp_path / "site.yaml").write_text(SITE.replace("site_a", f"'{name}'"))
    with pytest.raises(ConfigError, match="line 2: name") as refusal:
        load_site_settings(tmp_path / "site.yaml")
    names_nobody(refusal.value.code)
