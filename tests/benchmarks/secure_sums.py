"""What secure sums cost: a round's weights, and the statistics of a wide study, at three sites.

    python -m tests.benchmarks.secure_sums

One process, one thread. Of each: seconds at a site (encode and mask) and at the server (add and
decode), bytes that a site sends, and how many times the plain answer's that is.
"""

import argparse
import time
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from server.masked_sums import mean_values
from shared.secagg.masks import CHUNK, Occasion, masked, total
from shared.secagg.ring import STATISTICS, WEIGHTS
from shared.stages.secure_sums import Masked, MaskedRound

SITES = ("site_a", "site_b", "site_c")
KEYING = "0f" * 16


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one kind of answer."""

    what: str
    plain_bytes: int
    sent_bytes: int
    site_s: float
    server_s: float

    def line(self) -> str:
        """A row of the table."""
        times = self.sent_bytes / self.plain_bytes
        sizes = f"{self.plain_bytes / 1e6:9.1f}{self.sent_bytes / 1e6:9.1f}{times:6.1f}"
        return f"{self.what:<38}{sizes}{self.site_s:9.2f}{self.server_s:9.2f}"


def keys() -> dict[str, X25519PrivateKey]:
    """A key for each site."""
    return {site: X25519PrivateKey.generate() for site in SITES}


def weights(n: int) -> Cost:
    """A round of a network of `n` numbers."""
    made = keys()
    peers = {site: key.public_key() for site, key in made.items()}
    rng = np.random.default_rng(1)
    occasion = Occasion(KEYING, "weights", 0, SITES, n, WEIGHTS)
    replies, seconds = {}, []
    for site in SITES:
        vector = rng.normal(size=n).astype(np.float32)
        began = time.perf_counter()
        elements = np.empty((n, 1), dtype=np.uint64)
        for start in range(0, n, CHUNK):
            part = vector[start : start + CHUNK].astype(np.float64)
            elements[start : start + CHUNK] = WEIGHTS.encode(part * 100)
        hidden = masked(elements, occasion, site=site, key=made[site], peers=peers)
        seconds.append(time.perf_counter() - began)
        blank = Masked("null", {}, np.zeros((0, STATISTICS.n_words), np.int64))
        replies[site] = MaskedRound(blank, hidden.view(np.int64)[:, 0])
    began = time.perf_counter()
    mean_values(replies, 300)
    server_s = time.perf_counter() - began
    return Cost(f"weights, {n:,} numbers", 4 * n, 8 * n, float(np.mean(seconds)), server_s)


def statistics(n: int) -> Cost:
    """An answer of `n` numbers in double precision."""
    made = keys()
    peers = {site: key.public_key() for site, key in made.items()}
    rng = np.random.default_rng(1)
    occasion = Occasion(KEYING, "statistics", 0, SITES, n, STATISTICS)
    parts, seconds = {}, []
    for site in SITES:
        numbers = rng.normal(size=n)
        began = time.perf_counter()
        elements = STATISTICS.encode(numbers)
        parts[site] = masked(elements, occasion, site=site, key=made[site], peers=peers)
        seconds.append(time.perf_counter() - began)
    began = time.perf_counter()
    STATISTICS.decode(total(parts, occasion))
    server_s = time.perf_counter() - began
    return Cost(f"statistics, {n:,} numbers", 8 * n, 32 * n, float(np.mean(seconds)), server_s)


def main() -> None:
    """Measure, and print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="a hundredth of the numbers")
    share = 100 if options.parse_args().quick else 1
    print(f"{'answer':<38}{'MB plain':>9}{'MB':>9}{'times':>6}{'site s':>9}{'server s':>9}")
    for cost in (
        weights(23_500_000 // share),
        weights(46_200_000 // share),
        statistics(3_800_000 // share),
        statistics(100_000 // share),
    ):
        print(cost.line())


if __name__ == "__main__":
    main()
