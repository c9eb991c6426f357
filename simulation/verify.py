"""Federated against pooled: every number that must be exact, computed again from all rows.

Only a simulation can do this, because only there the rows of every hospital lie on one machine.
The pooled side uses the textbook formula or a library (scikit-learn, SciPy) on one table; it
shares no code with the federated side beyond the sites' reading of their own files.
"""

from server.study_folder import StudyFolder
from shared.job import Job
from simulation.verification.checks import Verification
from simulation.verification.clinical_model import check_clinical
from simulation.verification.cohort import check_cohorts, read_cohorts
from simulation.verification.comparison import check_comparison
from simulation.verification.contributions import check_contributions
from simulation.verification.fusion import check_fusion
from simulation.verification.lasso import check_frequency, check_lasso
from simulation.verification.rows import pool_rows
from simulation.verification.select_features import (
    check_calibration,
    check_looks,
    check_pruning,
    check_screen,
)
from simulation.verification.stability import check_stability
from simulation.verification.standardise import check_scale, check_sites, check_widths
from simulation.verification.subgroups import check_subgroups

CHECKS = (
    check_widths,
    check_stability,
    check_scale,
    check_sites,
    check_screen,
    check_pruning,
    check_looks,
    check_lasso,
    check_frequency,
    check_calibration,
    check_clinical,
    check_fusion,
    check_comparison,
    check_subgroups,
    check_contributions,
)


def verify_run(job: Job) -> Verification:
    """Check a finished run against the pooled computation on the same rows."""
    settings = job.study()
    study = StudyFolder(job.out / "study").load()
    pooled = pool_rows(job, study, settings)
    checks = check_cohorts(study, read_cohorts(job, settings), settings)
    for check in CHECKS:
        checks.extend(check(study, pooled, settings))
    return Verification(tuple(checks))
