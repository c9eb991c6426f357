"""Every site on one machine: made-up cohorts, and two engines that carry the same study."""
