"""The committed study files and the site example: they load, and they say what every key means."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml

from client.settings import SiteSettings, load_site_settings
from shared.config import Study, load_study
from shared.fusion_columns import fusion_names
from shared.sample_size import anticipated_r2, sample_size
from shared.strict_yaml import Settings

CONFIGS = Path(__file__).parent.parent / "configs"
STUDIES = sorted(path for path in CONFIGS.glob("*.yaml") if path.name != "site.example.yaml")
REFERENCE = CONFIGS / "her2_blca.yaml"
PRIVATE = CONFIGS / "private.yaml"
SITE = CONFIGS / "site.example.yaml"
VARIANT = "kind"


@dataclass(frozen=True)
class Key:
    """A key where it stands in a file: its line, its comment, its value and its settings class."""

    name: str
    line: int
    comment: str
    settings: type[Settings]

    @property
    def field(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def options(self) -> list[str]:
        """The values to choose from, where the key is an enumeration."""
        return list(_literals(self.settings.model_fields[self.field].annotation))


def _literals(annotation: Any) -> Iterator[str]:
    if get_origin(annotation) is Literal:
        yield from (value for value in get_args(annotation) if isinstance(value, str))
    elif not _models(annotation):
        for argument in get_args(annotation):
            yield from _literals(argument)


def _models(annotation: Any) -> list[type[Settings]]:
    """The settings classes behind a field, of which its value is one."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]


def _variant(models: list[type[Settings]], node: yaml.MappingNode) -> type[Settings]:
    """The class that a mapping is: the only one, or the one whose `kind` the mapping names."""
    given = {key.value: value.value for key, value in node.value}
    return next(
        model
        for model in models
        if len(models) == 1 or given[VARIANT] in get_args(model.model_fields[VARIANT].annotation)
    )


def _comment(lines: list[str], line: int) -> str:
    """The comment on a line and the block of comments right above it."""
    found = [lines[line].partition(" #")[2]]
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        found.insert(0, lines[line].strip().lstrip("# "))
    return " ".join(text.strip() for text in found if text.strip())


def _walk(
    node: yaml.MappingNode, model: type[Settings], at: str, lines: list[str]
) -> Iterator[Key]:
    for key, value in node.value:
        name = f"{at}.{key.value}".lstrip(".")
        line = key.start_mark.line
        yield Key(name, line + 1, _comment(lines, line), model)
        models = _models(model.model_fields[key.value].annotation)
        if value.tag.endswith(":null"):
            yield from _named_in_comment(name, line + 1, _comment(lines, line), models)
            continue
        children = value.value if isinstance(value, yaml.SequenceNode) else [value]
        mappings = [child for child in children if isinstance(child, yaml.MappingNode)]
        for child in mappings if models else []:
            yield from _walk(child, _variant(models, child), name, lines)


def _named_in_comment(
    name: str, line: int, comment: str, models: list[type[Settings]]
) -> Iterator[Key]:
    """The keys of a section that is off, as far as the comment above it explains them."""
    for model in models:
        for field in model.model_fields:
            if f"{field}: " in comment:
                yield Key(f"{name}.{field}", line, comment, model)


def keys_of(path: Path, model: type[Settings], section: str | None = None) -> list[Key]:
    """Every key in a settings file, or in one section, with the class it belongs to."""
    text = path.read_text(encoding="utf-8")
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    root.value = [pair for pair in root.value if section in (None, pair[0].value)]
    return list(_walk(root, model, "", text.splitlines()))


def _schema(model: type[Settings]) -> set[tuple[type[Settings], str]]:
    """Every (class, key) that can stand in a file, except what describes made-up patients."""
    own = {(model, name) for name in model.model_fields if name != "phantom"}
    below = (
        found
        for _, name in own
        for child in _models(model.model_fields[name].annotation)
        for found in _schema(child)
    )
    return own | set(below)


REFERENCE_KEYS = keys_of(REFERENCE, Study)
PRIVATE_KEYS = keys_of(PRIVATE, Study, "dp")
SITE_KEYS = keys_of(SITE, SiteSettings)
DOCUMENTED = [(REFERENCE, key) for key in REFERENCE_KEYS] + [(SITE, key) for key in SITE_KEYS]
DOCUMENTED += [(PRIVATE, key) for key in PRIVATE_KEYS]
DOCUMENTED_IDS = [f"{path.stem}-{key.line}-{key.name}" for path, key in DOCUMENTED]


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_a_committed_study_file_loads(path):
    assert load_study(path).version == 1


def test_the_published_cohort_suffices_for_the_fusion_layer_of_the_study_file():
    study = load_study(REFERENCE)
    assert (study.fusion.budget, study.fusion.rows_of) == ("enforce", "train")
    n, n_training = len(fusion_names(study)), 203 + 136  # methods of the published study
    r2 = anticipated_r2(study.fusion.anticipated_auc, 0.51)
    needed = sample_size(n, prevalence=0.51, r2=r2).needed
    assert needed <= n_training * study.cohort.splits.train


def test_the_site_example_loads_and_is_not_of_made_up_patients():
    assert not load_site_settings(SITE).synthetic


@pytest.mark.parametrize(
    ("keys", "model"),
    [(REFERENCE_KEYS + PRIVATE_KEYS, Study), (SITE_KEYS, SiteSettings)],
    ids=["study", "site"],
)
def test_every_key_of_the_schema_stands_in_the_documented_file(keys, model):
    there = {(key.settings, key.field) for key in keys}
    assert sorted(f"{m.__name__}.{name}" for m, name in _schema(model) - there) == []


@pytest.mark.parametrize(("path", "key"), DOCUMENTED, ids=DOCUMENTED_IDS)
def test_every_key_says_what_it_means(path, key):
    assert key.comment, f"{path.name} line {key.line}: {key.name} has no comment above it"


@pytest.mark.parametrize(
    ("path", "key"),
    [(path, key) for path, key in DOCUMENTED if key.options],
    ids=[id_ for id_, (_, key) in zip(DOCUMENTED_IDS, DOCUMENTED, strict=True) if key.options],
)
def test_every_option_of_an_enumeration_is_named(path, key):
    unnamed = [option for option in key.options if option not in key.comment]
    assert not unnamed, f"{path.name} line {key.line}: the comment of {key.name} omits {unnamed}"


def test_the_study_for_real_patients_has_three_training_sites_and_no_made_up_ones():
    study = load_study(REFERENCE)
    assert (len(study.sites.training), study.phantom) == (3, None)
    assert study.sites.external


def test_paper_has_the_published_patients():
    study = load_study(CONFIGS / "paper.yaml")
    sites = study.phantom.sites
    training = [sites[name].n_cases for name in study.sites.training]
    (external,) = (sites[name] for name in study.sites.external)
    assert training == [203, 136]
    assert (external.n_positive, external.n_cases - external.n_positive) == (35, 37)
    assert sum(site.n_cases for site in sites.values()) == 411


def test_paper_trains_both_published_branches():
    branches = load_study(CONFIGS / "paper.yaml").branches
    assert [(b.kind, b.network) for b in branches] == [("2.5d", "resnet50"), ("3d", "resnet50")]


def test_the_two_her2_studies_ask_the_same_question():
    real, paper = load_study(REFERENCE), load_study(CONFIGS / "paper.yaml")
    assert (real.endpoint, real.phases, real.clinical) == (
        paper.endpoint,
        paper.phases,
        paper.clinical,
    )
