"""Every site on one machine: made-up cohorts, and two engines that carry the same study."""

import shared  # noqa: F401  (first: it keeps the libraries from calling home)
