"""How well a network does on made-up patients against the epsilon that its training may spend.

One network is trained on the same made-up hospitals without noise, and with each of several noise
multipliers; a line says the largest epsilon of the sites, the network's AUC on each test split, and
how long training took. Runs under differential privacy are not alike: repeat them (`--repeats`).

`--branch` changes keys of the branch:
    python tests/benchmarks/privacy_utility.py --out /tmp/dp --branch '{size: [16, 16]}'
`--frozen` first trains the network without noise on other made-up patients; the private training
begins with that network, its last layer set to zero, and trains this layer alone.
"""

import argparse
import csv
import hashlib
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import load_file, save_file

import trifed
from server.progress import LoggedProgress
from shared.architectures import ARCHITECTURES
from shared.config import Study
from shared.strict_yaml import dump_settings
from simulation.simulate import prepare_run, run_in_process

SITES = {"site_a": "a", "site_b": "b", "site_c": "c", "site_d": "d"}
SPLITS = ("tune", "internal_test", "external_test")
DELTA = 1e-5
OTHER_PATIENTS = 1000
"""What is added to the seed for the patients that the trunk is trained on."""


def study_of(options: argparse.Namespace, sigma: float, repeat: int) -> Study:
    """The study with this noise, 0 for none; each repeat is a study with a budget of its own."""
    branch = {"name": "flat", "kind": "2.5d", "network": "resnet10", "size": [32, 32]}
    branch |= {"spacing_mm": [2.0, 2.0], "training": {"rounds": options.rounds}}
    changes = yaml.safe_load(options.branch)
    training = branch["training"] | changes.pop("training", {})
    private = {"noise_multiplier": sigma, "epsilon": 100.0, "delta": DELTA}
    content = {
        "version": 1,
        "name": f"privacy_{repeat}",
        "title": "AUC against epsilon",
        "seed": options.seed,
        "sites": {"training": list(SITES)[:3], "external": ["site_d"]},
        "endpoint": {
            "name": "HER2",
            "column": "her2_ihc",
            "negative": ["0", "1+"],
            "positive": ["2+", "3+"],
        },
        "phases": ["corticomedullary", "nephrographic", "excretory"],
        "cohort": {"min_roi_voxels": 8},
        "radiomics": {"spacing_mm": [5.0, 3.0, 3.0], "classes": ["shape", "firstorder"]},
        "clinical": {"predictors": ["sessile", "hydronephrosis"]},
        "branches": [branch | changes | {"training": training}],
        "dp": {"cnn": private} if sigma else None,
        "phantom": {
            "preset": options.preset,
            "size": "tiny",
            "sites": {s: {"n_cases": options.cases, "scanner": look} for s, look in SITES.items()},
        },
    }
    return Study.model_validate_json(json.dumps(content))


def pretrain(options: argparse.Namespace) -> None:
    """Train the trunk on other patients, and let the branch begin with it, frozen."""
    folder = options.out / "trunk"
    others = argparse.Namespace(**vars(options) | {"out": folder})
    others.seed += OTHER_PATIENTS
    folder.mkdir()
    measure(others, 0.0, 0)
    tensors = load_file(folder / "hospitals" / "weights" / "flat.safetensors")
    changes = yaml.safe_load(options.branch)
    head = ARCHITECTURES[changes.get("network", "resnet10")].head
    last = {f"{head}.weight", f"{head}.bias"}
    tensors |= {name: np.zeros_like(tensors[name]) for name in last}
    trunk = (options.out / "trunk.safetensors").resolve()
    save_file(tensors, trunk)
    file = {"file": str(trunk), "sha256": hashlib.sha256(trunk.read_bytes()).hexdigest()}
    changes |= {"freeze": ["trunk"], "initial_weights": file | {"format": "trifed"}}
    options.branch = json.dumps(changes)


def measure(options: argparse.Namespace, sigma: float, repeat: int) -> dict[str, Any]:
    """One run: epsilon, AUC by split, seconds. The hospitals are made up by the first."""
    out = options.out / f"sigma{sigma:g}-{repeat}"
    study_file = options.out / f"sigma{sigma:g}-{repeat}.yaml"
    study_file.write_text(dump_settings(study_of(options, sigma, repeat)))
    hospitals = sorted((options.out / "hospitals" / "cohort").glob("*/site.yaml"))
    begun = time.monotonic()
    job = prepare_run(
        study_file,
        out if hospitals else options.out / "hospitals",
        site_files=hospitals,
        seed=None,
        threads=options.threads,
        resume=False,
        progress=LoggedProgress(),
    )
    run_in_process(job, LoggedProgress())
    results = json.loads((job.out / "results.json").read_text())
    private = results["branches"]["flat"]["privacy"] or {}
    spent = max((entry["epsilon"] for entry in private.values()), default=float("inf"))
    auc = {split: results["models"]["flat"][split]["auc"] for split in SPLITS}
    return {"sigma": sigma, "epsilon": spent, **auc, "seconds": time.monotonic() - begun}


def main() -> None:
    """Measure, print a table and write it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--sigmas", type=float, nargs="+", default=[0.0, 0.6, 1.0, 2.0, 4.0])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--preset", default="easy")
    parser.add_argument("--cases", type=int, default=200, help="patients of each hospital")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--branch", default="{}", help="changed keys of the branch, as YAML")
    parser.add_argument("--frozen", action="store_true", help="train the last layer alone")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.out.mkdir(parents=True)
    trifed.set_up_logging(verbose=False)
    trifed.logging.getLogger("trifed").setLevel("WARNING")
    if options.frozen:
        pretrain(options)
    rows = []
    print("sigma  epsilon  " + "  ".join(f"{split:>13}" for split in SPLITS) + "  seconds")
    for sigma in options.sigmas:
        found = [measure(options, sigma, repeat) for repeat in range(options.repeats)]
        mean = {key: statistics.fmean(row[key] for row in found) for key in found[0]}
        numbers = "  ".join(f"{mean[split]:13.3f}" for split in SPLITS)
        print(f"{sigma:5g}  {mean['epsilon']:7.2f}  {numbers}  {mean['seconds']:7.0f}", flush=True)
        rows += found
    with (options.out / "privacy_utility.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
