"""The report: one file that says everything, claims nothing more, and is the same every time."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from server.report import write_report

MODELS = ("clinical", "radiomics", "branch_2_5d", "branch_3d", "fusion")
SIZES = {"train": (180, 78), "tune": (90, 39), "internal_test": (90, 40), "external_test": (40, 19)}
STRENGTHS = dict(zip(MODELS, (0.6, 0.8, 1.1, 1.0, 1.5), strict=True))
VOID = {"meta", "link", "br", "hr", "img", "input"}


def evaluation(model: str, split: str) -> dict[str, Any]:
    n, n_positive = SIZES[split]
    rng = np.random.default_rng([MODELS.index(model), list(SIZES).index(split)])
    fpr = np.linspace(0, 1, 30)
    tpr = np.minimum(np.sort(np.r_[0, rng.uniform(0, 1, 28) ** (1 / (1 + STRENGTHS[model])), 1]), 1)
    auc = float(np.clip(0.55 + 0.18 * STRENGTHS[model] + rng.normal(0, 0.02), 0, 1))
    half = 1.9 * (auc * (1 - auc) / (n / 3)) ** 0.5
    rate = {"value": auc - 0.08, "ci": [auc - 0.08 - half, min(auc - 0.08 + half, 1)]}
    bins = [
        {
            "n": int(4 + 3 * k),
            "predicted": 0.1 + 0.2 * k,
            "observed": float(np.clip(0.12 + 0.19 * k + rng.normal(0, 0.05), 0, 1)),
            "ci": [max(0.0, 0.19 * k - 0.12), min(1.0, 0.19 * k + 0.33)],
        }
        for k in range(5)
    ]
    metrics = ("accuracy", "sensitivity", "specificity", "ppv", "npv", "f1")
    in_sample = split == "train" or (split == "tune" and model == "fusion")
    return {
        "n": n,
        "n_positive": n_positive,
        "n_missing": 2 if model == "clinical" and split == "internal_test" else 0,
        "auc": auc,
        "auc_ci": [auc - half, min(auc + half, 1.0)],
        "threshold": 0.46,
        "threshold_from": "Youden index on tune",
        **{metric: dict(rate) for metric in metrics},
        "brier": 0.25 - 0.05 * STRENGTHS[model],
        "youden": {"value": -0.04, "ci": [-0.12, 0.04]},
        "mcc": {"value": 0.31, "ci": None},
        "observed_expected": {"value": 1.08, "ci": [0.93, 1.25]},
        "roc": {"fpr": fpr.tolist(), "tpr": tpr.tolist()},
        "calibration": bins,
        "calibration_intercept": {"value": -0.13, "ci": [-0.42, 0.16]},
        "calibration_slope": {"value": 0.87, "ci": [0.61, 1.13]},
        "calibration_curve": calibration_curve(),
        "decision_curve": decision_curve(STRENGTHS[model], n_positive / n),
        "in_sample": in_sample,
    }


def calibration_curve() -> dict[str, Any]:
    score = np.linspace(0.05, 0.95, 50)
    observed = score**1.15
    reach = 0.3 * observed * (1 - observed)
    columns = {"score": score, "observed": observed}
    columns |= {"low": observed - reach, "high": observed + reach}
    found: dict[str, Any] = {key: column.tolist() for key, column in columns.items()}
    return found | {"knots": [0.1, 0.4, 0.6, 0.9], "p_not_straight": 0.034}


def decision_curve(strength: float, share: float) -> dict[str, Any]:
    thresholds = np.linspace(0.2, 0.6, 9)
    of_all = (share - thresholds) / (1 - thresholds)
    model = np.maximum(of_all, 0.1 * strength - 0.1 * thresholds)
    columns = {"model": model, "low": model - 0.05, "high": model + 0.05, "treat_all": of_all}
    columns |= {"thresholds": thresholds, "treat_none": 0 * thresholds}
    return {key: column.tolist() for key, column in columns.items()}


def branch(kind: str, slope: float) -> dict[str, Any]:
    sites = {"site_a": 0.03, "site_b": -0.02, "site_c": 0.06}
    rounds = [
        {
            "round": k,
            "loss": 0.35 + 0.36 * float(np.exp(-slope * k)),
            "tune_auc": None if k == 2 else 0.84 - 0.3 * float(np.exp(-slope * k)),
            "tune_loss": 0.5 + 0.19 * float(np.exp(-slope * k)) + 0.008 * max(0, k - 7),
            "n_cases": 180,
            "bytes_down": 282_000_000,
            "bytes_up": 70_500_000,
            "seconds": 12.5,
            "sites": {
                site: {"loss": 0.35 + 0.36 * float(np.exp(-slope * k)) + shift, "n_cases": 60}
                for site, shift in sites.items()
            },
        }
        for k in range(1, 11)
    ]
    origin = {
        "format": "torchvision",
        "sha256": "ab" * 32,
        "taken": 265,
        "left_out": ["last layer (2)", "num_batches_tracked (53)"],
        "adapted": "first convolution: 3 to 9 channels",
    }
    return {
        "branch": kind,
        "rounds": rounds,
        "best_round": 7,
        "n_parameters": 23_510_081,
        "n_frozen": 128,
        "initial_weights": origin,
        "bytes_down": 2_820_000_000,
        "bytes_up": 705_000_000,
    }


def cohort() -> dict[str, Any]:
    def site(
        n: int, role: str, splits: dict[str, tuple[int, int]], excluded: int
    ) -> dict[str, Any]:
        return {
            "role": role,
            "n_cases": n,
            "n_excluded": excluded,
            "exclusion_reasons": {"mask is empty": excluded} if excluded else {},
            "splits": {s: {"n": a, "n_positive": b} for s, (a, b) in splits.items()},
            "missing_phases": {"excretory": excluded},
        }

    training = {"train": (60, 26), "tune": (30, 13), "internal_test": (30, 13)}
    rows = [
        ("age", "number", 67.9, 10.2),
        ("male", "binary", 0.78, 0.41),
        ("tumour_diameter_mm", "number", 31.4, 12.8),
        ("t_stage", "number", 1.94, 0.88),
        ("multifocal", "binary", 0.31, 0.46),
    ]

    def groups(mean: float, sd: float, missing: int) -> dict[str, Any]:
        sizes = {"negative": 203, "positive": 157, "all": 360}
        return {
            g: {"n": n - missing, "missing": missing, "mean": mean, "sd": sd}
            | ({"count": round((n - missing) * mean)} if sd < 0.5 else {})
            for g, n in sizes.items()
        }

    table = [
        {
            "variable": v,
            "kind": kind,
            "groups": groups(mean, sd, 2 if v == "t_stage" else 0),
            "test": {"name": "chi-square" if kind == "binary" else "Welch", "p": 0.0312},
            "smd": -0.214,
        }
        for v, kind, mean, sd in rows
    ]

    return {
        "sites": {
            "site_a": site(120, "training", training, 3),
            "site_b": site(120, "training", training, 0),
            "site_c": site(120, "training", training, 1),
            "site_x": site(40, "external", {"external_test": (40, 19)}, 0),
        },
        "table": table,
        "external": {"site_x": {"table": [table[0] | {"test": None}, *table[1:]]}},
    }


def fitted() -> dict[str, Any]:
    alphas = np.logspace(-3, -0.6, 25)
    features = (
        "nephrographic__original__firstorder__Energy",
        "corticomedullary__log-sigma-3mm__glcm__Correlation",
        "excretory__original__shape__Sphericity",
        "nephrographic__wavelet-LLH__glszm__SmallAreaEmphasis",
    )
    odds = [
        ("age", 1.01, 0.98, 1.04),
        ("t_stage", 1.62, 1.21, 2.17),
        ("multifocal", 0.84, 0.5, 1.4),
    ]
    return {
        "radiomics": {
            "n_features": 321,
            "n_screened": 58,
            "n_after_pruning": 23,
            "kept": [
                {"feature": f, "coefficient": 0.11 - 0.05 * k, "p": 0.0004 * 9**k, "frequency": 0.9}
                for k, f in enumerate(features)
            ],
            "lasso": {
                "alphas": alphas.tolist(),
                "cv_error": (0.2 + 0.02 * np.log10(alphas / 0.03) ** 2).tolist(),
                "cv_se": [0.008] * 25,
                "alpha": float(alphas[12]),
                "path": [
                    {"feature": f, "coefficients": (0.1 / (1 + alphas * 40) - 0.02 * k).tolist()}
                    for k, f in enumerate([*features, "never_kept"])
                ],
            },
        },
        "clinical": {
            "n": 180,
            "coefficients": [
                {"predictor": n, "coefficient": np.log(o), "odds_ratio": o, "ci": ci, "p": 0.02}
                for n, o, *ci in [*odds, ("separated", 900.0, 0.1, 1e5)]
            ],
        },
        "branches": {
            "branch_2_5d": branch("branch_2_5d", 0.4),
            "branch_3d": branch("branch_3d", 0.3),
        },
        "fusion": {
            "inputs": [
                {
                    "name": n,
                    "mean": 1.5,
                    "sd": 2.0,
                    "coefficient": c,
                    "per_unit": c / 2,
                    "odds_ratio": float(np.exp(c)),
                }
                for n, c in zip(
                    ("branch_2_5d_1", "branch_2_5d_2", "branch_3d_1", "radiomics_score", "age"),
                    (0.52, -0.11, 0.44, 0.21, 0.03),
                    strict=True,
                )
            ],
            "penalty": 3.0,
            "n_cases": 90,
            "fitted_on": "tune",
            "budget": {
                "anticipated_auc": 0.8,
                "anticipated_r2": 0.261,
                "n_cases": 90,
                "prevalence": 0.43,
                "n_parameters": 5,
                "allowed": 3,
                "suffices": False,
                "sizes": [
                    {"n_parameters": n, "shrinkage": 29 * n, "optimism": 22 * n, "prevalence": 385}
                    for n in (1, 5)
                ],
            },
        },
    }


def full_results(**changes: Any) -> dict[str, Any]:
    """A plausible finished study; every number is made up here."""
    hashes = {"study_hash": "5d41402abc4b2a76b9719d911017c592" * 2, "settings_hash": "7d793037" * 8}
    checks = [("standardise", "mean", 2.2e-16), ("clinical_model", "coefficients", 3.1e-13)]
    results = {
        "format": 1,
        "synthetic": True,
        "title": "HER2 status of bladder cancer from tri-phasic CT: a federated multicentre study",
        "study": {"name": "her2_blca", "seed": 20, **hashes},
        "engine": "flower",
        "versions": {"trifed": "0.1.0", "python": "3.11.9", "torch": "2.13.0"},
        "code_hash": "e4d909c290d0fb1ca068ffaddf22cbd0",
        "settings_yaml": "version: 1\nname: her2_blca\nseed: 20\nphases:\n  - nephrographic\n",
        "timings_s": {"hello": 0.4, "train_branches": 251.7},
        "endpoint": {"name": "HER2", "positive": ["2+", "3+"], "negative": ["0", "1+"]},
        "phases": ["corticomedullary", "nephrographic", "excretory"],
        "cohort": cohort(),
        **fitted(),
        "models": {m: {s: evaluation(m, s) for s in SIZES} for m in MODELS},
        "verify": {
            "passed": True,
            "tolerance": 1e-8,
            "checks": [{"stage": s, "quantity": q, "largest_difference": d} for s, q, d in checks],
        },
        "disclosed": [{"stage": "standardise", "what": "count, mean, sum of squares"}],
    }
    return {**results, **changes}


def few_results(**changes: Any) -> dict[str, Any]:
    """The same with two models and one branch: faster to draw."""
    results = full_results(**changes)
    results["models"] = {model: results["models"][model] for model in ("clinical", "fusion")}
    results["branches"].pop("branch_2_5d", None)
    return results


class Page(HTMLParser):
    """The page's tags, checked to close in order, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words += data


def written(results: dict[str, Any], folder: Path) -> str:
    write_report(results, folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


def svgs(text: str) -> list[str]:
    return re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the figures where the test is about words."""
    monkeypatch.setattr("server.report.render.to_svg", lambda *_, **__: [])


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(full_results(), tmp_path_factory.mktemp("report"))


def test_every_tag_is_closed_in_order(report):
    assert Page(report).open == []
    assert "&lt;span" not in report


def test_every_id_stands_once_and_every_reference_finds_one(report):
    ids = re.findall(r'\sid="([^"]+)"', report)
    used = set(re.findall(r'(?:url\(#|href="#|labelledby=")([^)"]+)', report))
    assert len(ids) == len(set(ids))
    assert used <= set(ids)


def test_nothing_is_fetched_and_no_script_runs(report):
    addresses = [
        value
        for tag, attributes in Page(report).tags
        for key, value in attributes.items()
        if key in {"src", "href", "xlink:href", "action", "data"} and value
    ]
    assert all(value.startswith(("#", "data:,")) for value in addresses)
    assert "url(http" not in report
    assert "@import" not in report
    assert "<script" not in report


def test_the_only_addresses_are_names_of_xml(report):
    assert set(re.findall(r'(\S+)="https?:', report)) == {"xmlns", "xmlns:xlink"}
    assert len(re.findall("https?:", report)) == 2 * len(svgs(report))


def test_synthetic_data_stands_once_in_each_figure(report):
    assert [svg.count("synthetic data") for svg in svgs(report)] == [1] * len(svgs(report))
    assert 'class="banner"' in report


def test_synthetic_data_stands_nowhere_in_a_study_of_patients(tmp_path):
    text = written(few_results(synthetic=False), tmp_path)
    assert len(svgs(text)) > 8
    assert "synthetic" not in text.lower()


@pytest.mark.parametrize("split", SIZES)
def test_every_model_stands_with_its_number_and_interval(report, split):
    titles = {"train": "Train", "tune": "Tune", "internal_test": "Internal test"}
    start = report.index(f"{titles.get(split, 'External test')}: performance with")
    table = report[start : report.index("</table>", start)]
    for model in MODELS:
        value = evaluation(model, split)
        low, high = (f"{bound:.2f}".removeprefix("0") for bound in value["auc_ci"])
        assert f"{value['auc']:.2f}".removeprefix("0") + f"<small>{low}–{high}</small>" in table
    assert table.count(f"{SIZES[split][0]}<small>{SIZES[split][1]} positive") == len(MODELS)


def test_in_sample_numbers_are_marked_and_explained(report):
    start = report.index("Tune: performance with")
    table = report[start : report.index("</section>", start)]
    assert "Fusion †" in table
    assert "Clinical †" not in table
    assert "optimistic" in table


@pytest.mark.usefixtures("undrawn")
def test_what_is_not_defined_is_an_en_dash(tmp_path):
    results = full_results()
    nothing = {"value": None, "ci": None}
    results["models"]["clinical"]["external_test"] |= {"auc": None, "auc_ci": None, "ppv": nothing}
    page = written(results, tmp_path)
    assert "<td>–</td>" in page
    assert "None" not in Page(page).words
    assert "nan" not in re.findall(r"[a-z]+", Page(page).words)


def test_a_hostile_name_is_only_text(tmp_path):
    results = full_results(models={}, radiomics={}, clinical={}, fusion={})
    hostile = '<script>alert("$x_")</script>'
    results["cohort"]["sites"][hostile] = results["cohort"]["sites"].pop("site_a")
    for entry in results["branches"]["branch_3d"]["rounds"]:
        entry["sites"][hostile] = entry["sites"].pop("site_a")
    page = Page(written(results, tmp_path))
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.words.count(hostile) == 3
    assert page.open == []


def test_the_same_results_give_the_same_bytes(tmp_path):
    assert written(few_results(), tmp_path / "a") == written(few_results(), tmp_path / "b")


def without_numbers(value: Any) -> Any:
    """The same results, every measured number of them undefined."""
    if isinstance(value, dict):
        return {key: without_numbers(part) for key, part in value.items()}
    if isinstance(value, list):
        return [without_numbers(part) for part in value]
    return None if isinstance(value, float) else value


def test_results_without_a_single_number_are_still_a_page(tmp_path):
    page = Page(written(without_numbers(few_results()), tmp_path))
    assert page.open == []
    assert "None" not in page.words


@pytest.mark.usefixtures("undrawn")
def test_no_half_file_is_left(tmp_path):
    written(full_results(), tmp_path / "made")
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["report.html"]


def test_results_that_hold_nothing_still_give_a_page(tmp_path):
    page = Page(written({"format": 1}, tmp_path))
    assert page.open == []
    assert "No model was evaluated" in page.words


@pytest.mark.parametrize("key", sorted(full_results()))
@pytest.mark.usefixtures("undrawn")
def test_no_part_of_the_results_is_indispensable(key, tmp_path):
    results = full_results()
    del results[key]
    assert Page(written(results, tmp_path)).open == []


def test_every_model_has_a_decision_curve_beside_treating_all_and_none(report):
    drawn = [svg for svg in svgs(report) if 'aria-label="Decision curves' in svg]
    assert [re.search('label="([^"]*)"', svg)[1] for svg in drawn] == [
        "Decision curves, internal test",
        "Decision curves, external test",
    ]
    for svg in drawn:
        for label in ("Treat all", "Treat none", "Clinical", "Branch 2.5D", "Fusion"):
            assert f">{label}</text>" in svg


def test_youden_matthews_and_observed_over_expected_stand_in_the_table(report):
    assert ">MCC<" in report
    assert "1.08<small>0.93–1.25</small>" in report
    assert "−0.04<small>−0.12 to .04</small>" in report


def test_a_cohort_of_one_class_has_no_auc_and_says_so(tmp_path):
    results = few_results(branches={})
    for model in results["models"]:
        results["models"][model]["external_test"] |= {
            "n_positive": 0,
            "auc": None,
            "auc_ci": None,
            "roc": {"fpr": [], "tpr": []},
        }
    assert "has no AUC: it is not defined on these cases" in written(results, tmp_path)


def test_seven_models_and_two_external_sites_find_room(tmp_path):
    results = full_results(branches={})
    results["models"] |= {f"branch_{k}": results["models"]["branch_3d"] for k in range(2)}
    one = {m: {"auc": 0.7, "auc_ci": [0.5, 0.9], "n": 20} for m in results["models"]}
    results["external_sites"] = {"site_x": one, "site_y": one}
    assert "AUC at each external site" in written(results, tmp_path)


def test_overlapping_intervals_are_never_ranked(report):
    words = Page(report).words
    assert "these data do not show which model is better" in words
    assert not re.search(r"outperform|superior|the best", words)


def test_a_small_cohort_is_warned_of(report):
    assert "external test has 19 positive and 21 negative cases" in Page(report).words


@pytest.mark.usefixtures("undrawn")
def test_an_interval_that_includes_chance_says_so(tmp_path):
    results = full_results()
    results["models"]["fusion"]["external_test"] |= {"auc": 0.58, "auc_ci": [0.41, 0.75]}
    assert "The interval includes .50" in Page(written(results, tmp_path)).words


@pytest.mark.usefixtures("undrawn")
def test_a_failed_verification_stands_in_the_summary(tmp_path):
    results = full_results()
    results["verify"]["passed"] = False
    results["verify"]["checks"][0]["largest_difference"] = 0.02
    words = Page(written(results, tmp_path)).words
    assert "do not use these results before the cause is found" in words
    assert "different" in words


def test_what_a_network_began_with_and_what_was_frozen_stand_below_the_table(report):
    assert (
        "265 tensors of a file (torchvision, SHA-256 abababababababab); left out: last layer (2), "
        "num_batches_tracked (53); first convolution: 3 to 9 channels."
    ) in report
    assert "128 of the parameters were frozen." in report


def test_the_fusion_layers_columns_are_told_per_deviation_and_per_unit(report):
    text = " ".join(re.sub(r"<[^>]*>", " ", report).split())
    assert "Odds ratio per SD" in text
    assert "0.520 0.260 1.68" in text


def test_a_fusion_layer_with_too_many_parameters_is_called_so(report):
    text = " ".join(re.sub(r"<[^>]*>", " ", report).split())
    assert "The layer has 5 candidate parameters and was fitted on 90 cases" in text
    assert "which suffice for 3. These are too few" in text
