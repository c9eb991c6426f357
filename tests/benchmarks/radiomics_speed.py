"""How fast radiomics is: plain PyRadiomics against `mode: pyradiomics` and `mode: ibsi`.

All compute on the same made-up phase, 512 x 512 x 60 voxels of 0.8 x 0.8 x 3 mm with a lobulated
tumour of 40 mm: 1,130 features of the original, three LoG images and eight wavelet bands at 1 mm,
on one thread. They take turns, A B C A B C, so that they see the same machine; the first turn is
dropped. Processor time is what to compare where the machine is shared.

`PyRadiomics` is `RadiomicsFeatureExtractor.execute` as it comes; `lean` is the same without the
description of the images (`additionalInfo`), which no feature needs.

`site` prepares patients of three such phases, by one worker in this process and by two of their
own, whose start counts. It needs two idle cores.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from scipy.ndimage import gaussian_filter
from threadpoolctl import threadpool_limits

import trifed
from client.cache import Cache
from client.cohort.manifest import Case
from client.images.volumes import Volume, from_itk, read_case, use_one_thread
from client.prepare import prepare, task_for
from client.products import Row
from client.radiomics.engine import plain_extractor, plain_number
from client.radiomics.features import ibsi_features
from client.radiomics.plain import plain_features
from shared.config import Study
from shared.models import Extraction
from shared.phases import Phase
from shared.radiomics_settings import Radiomics
from shared.strict_yaml import parse_settings

PHASE: Phase = "nephrographic"
PHASES: tuple[Phase, ...] = ("corticomedullary", "nephrographic", "excretory")
SHAPE, SPACING = (60, 512, 512), (3.0, 0.8, 0.8)
FILTERS: dict[str, Any] = {"log_sigma_mm": (1.0, 2.0, 3.0), "wavelet": "coif1"}
ENGINES = ("PyRadiomics", "lean", "pyradiomics", "ibsi")
STUDY = """
version: 1
name: speed
title: How fast radiomics is
seed: 1
sites: {{training: [site_a, site_b]}}
endpoint: {{name: HER2, column: her2_ihc, negative: ["0", "1+"], positive: ["2+", "3+"]}}
phases: [corticomedullary, nephrographic, excretory]
radiomics: {{mode: {mode}, log_sigma_mm: [1.0, 2.0, 3.0], wavelet: coif1}}
clinical: {{predictors: [sessile]}}
branches:
  - {{name: branch_2_5d, kind: 2.5d, network: resnet10, size: [16, 16]}}
"""


def phase_and_mask(seed: int) -> tuple[Any, Any]:
    """A phase in whole HU and its tumour's mask, made up."""
    rng = np.random.default_rng(seed)
    at = [
        (np.arange(n) - (n - 1) / 2).reshape([-1 if axis == a else 1 for a in range(3)]) * mm
        for axis, (n, mm) in enumerate(zip(SHAPE, SPACING, strict=True))
    ]
    radius = np.sqrt(sum(a**2 for a in at)) + 1e-9
    angle, tilt = np.arctan2(at[1], at[2]), np.arccos(np.clip(at[0] / radius, -1, 1))
    lobes = 1 + 0.12 * np.cos(3 * angle) * np.sin(tilt) ** 3 + 0.06 * np.cos(5 * tilt)
    inside = radius < 20.2 * lobes
    hu = rng.normal(-80, 25, SHAPE).astype(np.float32)
    texture = gaussian_filter(rng.normal(0, 250, SHAPE).astype(np.float32), (0.7, 2, 2))
    hu[inside] = 60 + texture[inside] + rng.normal(0, 12, int(inside.sum()))
    image = sitk.GetImageFromArray(np.round(hu).astype(np.int16))
    mask = sitk.GetImageFromArray(inside.astype(np.uint8))
    for each in (image, mask):
        each.SetSpacing(SPACING[::-1])
    return image, mask


def files_of(seed: int, folder: Path) -> Case:
    """A made-up patient's files, the same for all phases, written where they are not yet."""
    image, mask = folder / f"image-{seed}.nii.gz", folder / f"mask-{seed}.nii.gz"
    if not mask.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for what, path in zip(phase_and_mask(seed), (image, mask), strict=True):
            sitk.WriteImage(what, str(path))
    images, masks = dict.fromkeys(PHASES, image), dict.fromkeys(PHASES, mask)
    return Case(f"P-{seed:03}", 2, None, 0, images, masks, {})


def computes(engine: str, image: Any, mask: Any, volume: Volume | None) -> Callable[[], Any]:
    """One engine on the phase, images already in memory."""
    plain = Radiomics(mode="pyradiomics", **FILTERS)
    if engine == "ibsi":
        assert volume is not None
        return lambda: ibsi_features(volume, Radiomics(**FILTERS))
    if engine == "pyradiomics":
        return lambda: plain_features(image, mask, plain)
    extractor = plain_extractor(plain)
    extractor.settings["additionalInfo"] = engine == "PyRadiomics"
    return lambda: extractor.execute(image, mask)


def measure_speed(options: argparse.Namespace) -> None:
    """Times of all engines by turns, their ratios, and the largest difference of a feature."""
    case = files_of(1, options.folder)
    image, mask = (sitk.ReadImage(str(paths[PHASE])) for paths in (case.images, case.masks))
    engines = {name: computes(name, image, mask, read_case(case, PHASE)) for name in ENGINES}
    found: dict[str, Any] = {}
    wall: dict[str, list[float]] = {name: [] for name in ENGINES}
    cpu: dict[str, list[float]] = {name: [] for name in ENGINES}
    for _ in range(options.turns + 1):
        for name, compute in engines.items():
            began = time.perf_counter(), time.process_time()
            found[name] = compute()
            wall[name].append(time.perf_counter() - began[0])
            cpu[name].append(time.process_time() - began[1])
    for what, times in (("processor", cpu), ("wall", wall)):
        medians = {name: statistics.median(times[name][1:]) for name in ENGINES}
        print(
            f"{what} time, medians of {options.turns} turns, and how often it fits into the first"
        )
        for name, median in medians.items():
            print(f"  {name:<12} {median:7.3f} s   {medians['PyRadiomics'] / median:5.2f} times")
    direct = [plain_number(v) for k, v in found["PyRadiomics"].items() if "diagnostics" not in k]
    ours = list(found["pyradiomics"].values())
    pairs = [(a, b) for a, b in zip(direct, ours, strict=True) if a != b]
    differences = [abs(a - b) / max(abs(a), 1e-9) for a, b in pairs]
    print(f"largest relative difference of {len(ours)} features: {max(differences, default=0):.1e}")


def measure_memory(options: argparse.Namespace) -> None:
    """What each engine adds to the memory of a process of its own, at most."""
    files_of(1, options.folder)
    for name in ENGINES:
        environment = os.environ | {"PYTHONPATH": str(Path(trifed.__file__).parent)}
        command = [sys.executable, __file__, "--alone", name, "--folder", str(options.folder)]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        added = json.loads(done.stdout)
        print(
            f"  {name:<12} peak {added['reading']:5.0f} MB for the images, {added['all']:5.0f} MB"
        )


def run_alone(engine: str, folder: Path) -> None:
    """Read the phase, compute once, and print the peak over what the libraries take."""

    def peak() -> float:
        # ru_maxrss would begin with the memory of the process that started this one
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    case = files_of(1, folder)
    computes("lean", None, None, None)
    before = peak()
    volume = read_case(case, PHASE) if engine == "ibsi" else None
    image = mask = None
    if volume is None:
        image, mask = (sitk.ReadImage(str(paths[PHASE])) for paths in (case.images, case.masks))
        from_itk(image[:1, :1, :1])
    reading = peak() - before
    computes(engine, image, mask, volume)()
    print(json.dumps({"reading": reading, "all": peak() - before}))


def measure_site(options: argparse.Namespace) -> None:
    """A site's own preparation of some patients: by one and by two workers, and from its cache."""
    cases = [files_of(seed, options.folder) for seed in range(1, options.cases + 1)]
    study = parse_settings(STUDY.format(mode=options.mode), Study, name="study.yaml")
    widths = study.radiomics.given_widths
    assert widths is not None
    row = Row(study, Extraction(widths))
    for workers in (1, 2):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            times = []
            for _ in range(2):
                began = time.perf_counter()
                cache = Cache(Path(folder))
                tasks = [task_for(c, study, options.folder, cache, [row]) for c in cases]
                bad = prepare(tasks, threads=workers, progress=lambda *_: None)
                times.append(time.perf_counter() - began)
                if bad:
                    raise SystemExit(str(bad))
        print(
            f"  {workers} worker(s), {len(cases)} patients, mode: {options.mode}: "
            f"{times[0]:.1f} s; again, from the cache: {times[1]:.3f} s, "
            f"{times[0] / times[1]:.0f} times faster"
        )
        options.first = getattr(options, "first", times[0])
    print(f"  two workers: {options.first / times[0]:.2f} times as fast as one")


def main() -> None:
    """Measure what the options say."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="""examples:
  python tests/benchmarks/radiomics_speed.py                    all three parts
  python tests/benchmarks/radiomics_speed.py speed --turns 9    times and differences alone
  python tests/benchmarks/radiomics_speed.py memory             peak memory of each engine
  python tests/benchmarks/radiomics_speed.py site --cases 8     workers and cache of a site""",
    )
    parser.add_argument("parts", nargs="*", help="speed, memory, site (default: all)")
    parser.add_argument("--turns", type=int, default=5, help="turns of each engine")
    parser.add_argument("--cases", type=int, default=8, help="patients of the site, at least 4")
    parser.add_argument(
        "--mode", choices=("ibsi", "pyradiomics"), default="ibsi", help="the site's"
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmarks/radiomics"))
    parser.add_argument("--alone", choices=ENGINES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.folder = options.folder.resolve()
    warnings.simplefilter("ignore")
    use_one_thread()
    threadpool_limits(limits=1)
    if options.alone:
        run_alone(options.alone, options.folder)
        return
    parts = {"speed": measure_speed, "memory": measure_memory, "site": measure_site}
    if unknown := set(options.parts) - set(parts):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    for name in options.parts or parts:
        print(f"{name}:", flush=True)
        parts[name](options)


if __name__ == "__main__":
    main()
