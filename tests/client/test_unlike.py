"""A patient unlike those that trained the models is told of, in words; one like them is not."""

from dataclasses import replace

import numpy as np
import pytest

from client.predict.contributions import Contribution
from client.predict.named_files import NamedFiles
from client.predict.predict import predict_file
from client.predict.unlike import all_features, fusion_inputs, predictors_of, selected_features
from server.bundle_export import export_bundle
from shared.bundle_file import parse, read_bundle, render
from shared.contributions import CLINICAL
from shared.errors import BundleError
from shared.models import Extraction, Scale, TrainedOn
from shared.moments import moments
from tests.conftest import changed
from tests.made_bundle import FEATURES, bundle_without_networks

MANY = tuple(f"f{j}" for j in range(40))
VOLUME = "excretory__original__shape__MeshVolume"
NAMES = (*MANY, VOLUME)


@pytest.fixture
def made(study):
    """Two features in the radiomics score: means 80 and 110, standard deviations 9 and 12."""
    return bundle_without_networks(study)


@pytest.mark.parametrize(
    ("row", "told"), [([80, 110], 0), ([115.9, 110], 0), ([116.1, 110], 1), ([-1000, 9999], 2)]
)
def test_selected_features_beyond_four_deviations_are_counted(made, row, told):
    texts = selected_features(made, FEATURES, np.array(row, dtype=float))
    assert [text.split(" features")[0] for text in texts] == ([f"{told} of 2"] if told else [])


def test_selected_features_beyond_the_pooled_bounds_are_counted(made):
    scale = replace(made.bundle.radiomics.scale, high=np.array([90.0, 120.0]))
    radiomics = replace(made.bundle.radiomics, scale=scale)
    clipped = changed(made.study, standardise={"clip_quantile": 0.05})
    bundle = replace(made.bundle, radiomics=radiomics)
    found = replace(made, study=clipped, bundle=bundle)
    assert selected_features(found, FEATURES, np.array([90.0, 120.0])) == []
    (text,) = selected_features(found, FEATURES, np.array([91.0, 110.0]))
    assert text.startswith("1 of 2 features of the radiomics score lie beyond the pooled bounds")
    assert "10% of the training patients" in text


def scale_of(names):
    return Scale.of(Extraction({}), names, np.full(len(names), 10.0), np.full(len(names), 2.0))


@pytest.mark.parametrize(("n_far", "told"), [(0, False), (2, False), (3, True)])
def test_images_are_unlike_if_more_than_a_twentieth_of_all_features_is_far(n_far, told):
    row = np.full(len(MANY), 10.0)
    row[:n_far] = 1000.0
    texts = all_features(scale_of(MANY), MANY, row)
    assert bool(texts) == told
    assert not told or texts[0].startswith(f"{n_far} of all 40 radiomics features")


def test_the_tumours_volume_is_named_and_a_missing_phase_is_not_far():
    row = np.full(len(NAMES), np.nan)
    assert all_features(scale_of(NAMES), NAMES, row) == []
    row[:] = 10.0
    row[-1] = 20.0
    (text,) = all_features(scale_of(NAMES), NAMES, row)
    assert text.startswith(f"the tumour's volume ({VOLUME}: 20 mm3) is +5.0 standard deviations")


def test_an_age_that_no_patient_had_and_a_yes_no_that_is_neither_are_told():
    age, rare = 60 + np.arange(50.0) % 20, (np.arange(50) == 0).astype(float)
    told = moments(("age", "rare"), np.column_stack([age, rare]))
    assert predictors_of(told, np.array([79.0, 1.0])) == []
    assert predictors_of(told, np.array([np.nan, 0.0])) == []
    texts = predictors_of(told, np.array([7.0, 2.0]))
    assert [text.split(",")[0].split(";")[0] for text in texts] == ["age is 7", "rare is 2"]


def test_what_a_branch_says_beyond_four_deviations_is_told_and_clinical_values_are_not():
    parts = (
        Contribution("flat_1", "flat", 11.0, 1.0, 2.0, 0.5),
        Contribution("flat_2", "flat", None, 1.0, 2.0, 0.0),
        Contribution("age", CLINICAL, 99.0, 1.0, 2.0, 0.5),
    )
    (text,) = fusion_inputs(parts)
    assert text.startswith("flat_1 of the fusion layer is +5.0 standard deviations")


def told_of(made, **changes):
    """What a bundle tells of training, with some of it changed."""
    scale = made.bundle.radiomics.scale
    predictors = made.bundle.clinical.predictors
    variables = moments(predictors, np.array([[0.0, 60.0], [1.0, 72.0]]))
    told = TrainedOn({"train": 9}, {"train": 4}, variables, replace(scale, sites={}))
    return replace(made, bundle=replace(made.bundle, trained_on=replace(told, **changes)))


def test_what_is_told_of_training_comes_back_and_is_part_of_the_hash(made):
    found = told_of(made)
    again = parse(render(found))
    assert again.bundle.hash() == found.bundle.hash() != made.bundle.hash()
    assert again.bundle.trained_on.n_cases == {"train": 9}


@pytest.mark.parametrize(
    "changes",
    [
        {"n_positive": {"train": 10}},
        {"n_positive": {"tune": 1}},
        {"features": scale_of(("other",))},
        {"variables": moments(("age",), np.array([[60.0]]))},
    ],
    ids=["more positive than patients", "another split", "other features", "no predictor"],
)
def test_what_contradicts_the_models_is_refused(made, changes):
    with pytest.raises(BundleError, match="contradicts itself"):
        parse(render(told_of(made, **changes)))


@pytest.fixture(scope="module")
def bundle_file(finished_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "tiny.bundle"
    export_bundle(finished_run.out, path)
    return path


def test_a_bundle_tells_of_training_what_the_runs_results_print(finished_run, bundle_file):
    told = read_bundle(bundle_file).bundle.trained_on
    sites = finished_run.results["cohort"]["sites"].values()
    training = [site for site in sites if site["role"] == "training"]
    for split, n in told.n_cases.items():
        assert n == sum(site["splits"][split]["n"] for site in training)
        positive = sum(site["splits"][split]["n_positive"] for site in training)
        assert told.n_positive[split] == positive
    assert told.features.sites == {}


def test_a_chest_ct_is_unlike_every_training_patient(bundle_file, reference_data):
    image = reference_data("pyradiomics/lung1_image.nrrd")
    mask = reference_data("pyradiomics/lung1_label.nrrd")
    phases = read_bundle(bundle_file).study.phases
    wanted = NamedFiles(tuple(f"{phase}={image}" for phase in phases), (str(mask),))
    warnings = predict_file(bundle_file, wanted, threads=1, heat=False).warnings
    text = "\n".join(warnings)
    assert "features of the radiomics score lie more than 4 standard deviations" in text
    assert "the images are unlike those of training" in text
    assert "are one image" in text
    assert "sessile is not known" in text
