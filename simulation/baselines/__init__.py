"""What federated training is measured against: each site alone, all pooled, all but one.

Each baseline is a whole study, run by the code of the federated one with its seed and its splits.
Only a simulation can do this, because only there the patients of every hospital lie on one machine.
"""
