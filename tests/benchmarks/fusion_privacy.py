"""What noise costs the fusion layer: AUC by epsilon and patients, on made-up columns.

Run by hand: python -m tests.benchmarks.fusion_privacy [--layers 60]
Three sites, five columns (three measured, two yes or no) of which four say something, delta
0.00001, penalty 3, clip_norm 3, three steps. The AUC is of 4,000 other patients.
"""

import argparse

import numpy as np
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from client.fusion_noise import noised_sums
from server.fit_fusion_noise import fit_fusion_noised
from shared.glm import with_intercept
from shared.grid_noise import noise_for
from shared.noised_sums import divided
from shared.privacy_settings import FusionNoise

EFFECTS = np.array([0.9, 0.5, 0.4, 0.3, 0.0])
K = 1 + len(EFFECTS)


def made_up(n, rng):
    rows = rng.normal(size=(n, len(EFFECTS)))
    rows[:, 3:] = (rows[:, 3:] > 0.5) * 2 - 0.6
    return with_intercept(rows), (rng.random(n) < expit(rows @ EFFECTS)).astype(np.int64)


def layer(design, labels, settings, noise):
    parts = list(zip(np.array_split(design, 3), np.array_split(labels, 3), strict=True))

    def ask(_step, beta):
        return [
            divided(noised_sums(x, y, beta, clip_norm=settings.clip_norm, noise=noise), K)
            for x, y in parts
        ]

    return fit_fusion_noised(K, ask, penalty=3.0, settings=settings, noise=noise).coefficients


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=60)
    n_layers, rng = parser.parse_args().layers, np.random.default_rng(1)
    unseen, outcome = made_up(4000, rng)
    for n in (75, 150, 300, 600):
        for eps in (1.0, 3.0, 8.0, None):
            settings = FusionNoise(epsilon=eps or 1.0)
            noise = noise_for(eps, 1e-5, settings.steps) if eps else 1e-6
            fits = [layer(*made_up(n, rng), settings, noise) for _ in range(n_layers)]
            aucs = [roc_auc_score(outcome, unseen @ beta) for beta in fits]
            print(f"n {n:>4}  epsilon {eps or 'inf'!s:>4}  AUC {np.mean(aucs):.3f} "
                  f"(sd {np.std(aucs):.3f})", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
