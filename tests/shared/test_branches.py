import pytest

from shared.branches import PUBLISHED, Branch3D, Branch25D, InitialWeights
from shared.config import Study, digest, load_study
from shared.errors import ConfigError
from shared.strict_yaml import dump_settings, parse_settings
from tests.finished_runs import TINY

FILE = "{file: w.pth, format: torchvision, sha256: " + "a" * 64 + "}"
MEDICAL = FILE.replace("torchvision", "medicalnet")


def branch_file(tmp_path, extra, *, branch=0, name="study.yaml"):
    """The tiny study with further keys in one of its branches."""
    lines, seen = [], -1
    for line in TINY.read_text().splitlines():
        lines.append(line)
        if line.strip().startswith("kind:"):
            seen += 1
            lines += [f"    {key}" for key in extra] if seen == branch else []
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / name).write_text("\n".join(lines).replace("    network: resnet10\n", ""))
    return tmp_path / name


@pytest.mark.parametrize(
    ("branch", "extra", "said"),
    [
        (0, ["norm: frozen_batch"], "norm: frozen_batch needs .* initial_weights; without a file"),
        (0, ["freeze: [layer5]"], "'layer5' is no stage of resnet50; it has stem, layer1,.* trunk"),
        (0, ["network: densenet121", "freeze: [layer1]"], "it has stem, denseblock1, .*block4, or"),
        (0, [f"initial_weights: {MEDICAL}"], "medicalnet has 3D convolutions, this branch 2D"),
        (1, [f"initial_weights: {FILE}"], "torchvision has 2D convolutions, this branch 3D"),
        (1, ["network: densenet121"], "size: densenet121 needs at least 29 along each axis"),
        (0, ["network: resnet50", "shortcut: padded"], "padded is for resnet18 and resnet34"),
        (0, ["initial_weights: {file: w, format: trifed, sha256: abc}"], r"sha256: .* pattern"),
        (0, ["network: vgg16"], "network: Input should be 'resnet10'"),
    ],
)
def test_what_a_network_cannot_be_is_refused_when_the_study_is_loaded(
    tmp_path, branch, extra, said
):
    with pytest.raises(ConfigError, match=rf"(?s)study\.yaml line \d+: .*{said}"):
        load_study(branch_file(tmp_path, extra, branch=branch))


def test_medicalnet_has_no_densenet():
    branch = {"name": "b", "kind": "3d", "network": "densenet121", "size": [32, 32, 32]}
    text = "\n".join(f"{key}: {value}" for key, value in branch.items())
    with pytest.raises(ConfigError, match="MedicalNet has no DenseNet"):
        parse_settings(f"{text}\ninitial_weights: {MEDICAL}", Branch3D, name="b")


def test_a_path_counts_from_the_study_files_folder_and_survives_writing(tmp_path):
    study = load_study(branch_file(tmp_path, [f"initial_weights: {FILE}"]))
    assert study.branches[0].initial_weights.file == tmp_path.resolve() / "w.pth"
    other = tmp_path / "elsewhere" / "study.yaml"
    other.parent.mkdir()
    other.write_text(dump_settings(study))
    assert load_study(other) == study


def test_the_study_hash_depends_on_the_files_content_and_format_and_not_on_its_path(tmp_path):
    def hash_of(folder, text):
        return digest(load_study(branch_file(tmp_path / folder, [f"initial_weights: {text}"])))

    here = hash_of("a", FILE)
    assert hash_of("b", FILE) == here
    assert hash_of("a", FILE.replace("w.pth", "/elsewhere/other.pt")) == here
    assert hash_of("a", FILE.replace("aaaa", "bbbb", 1)) != here
    assert hash_of("a", FILE.replace("torchvision", "trifed")) != here


def test_what_is_published_names_the_file_without_its_folder(tmp_path):
    study = load_study(branch_file(tmp_path, [f"initial_weights: {FILE}"]))
    assert str(tmp_path) in dump_settings(study)
    published = dump_settings(study, context=PUBLISHED)
    assert str(tmp_path) not in published
    assert "file: w.pth" in published
    assert digest(parse_settings(published, Study, name="published")) == digest(study)


@pytest.mark.parametrize(
    ("network", "shortcut", "file_format", "padded"),
    [
        ("resnet18", None, None, False),
        ("resnet18", None, "trifed", False),
        ("resnet18", "padded", "trifed", True),
        ("resnet18", "padded", None, True),
        ("resnet18", None, "medicalnet", True),
        ("resnet34", None, "medicalnet", True),
        ("resnet10", None, "medicalnet", False),
        ("resnet50", None, "medicalnet", False),
        ("resnet18", "projection", "medicalnet", False),
    ],
)
def test_shortcuts_are_as_said_or_as_the_file_has_them(network, shortcut, file_format, padded):
    begins = {"file": "/w.pth", "format": file_format, "sha256": "a" * 64} if file_format else None
    branch = Branch25D.model_construct(
        network=network,
        shortcut=shortcut,
        initial_weights=begins and InitialWeights.model_construct(**begins),
    )
    assert branch.has_padded_shortcuts is padded
