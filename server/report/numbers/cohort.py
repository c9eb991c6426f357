"""Where the numbers of the study and of its cohort are from."""

from server.report.numbers.origin import Origin

GIVEN = "given in the study file"
OWN = "told by {0} as a count of its own cases"
TABLE = "pooled from the training sites' counts, means and sums of squared deviations, by label"

STUDY = (
    Origin("format", "version", "the form of the file"),
    Origin("study.seed", "setting", GIVEN, ("#top",)),
    Origin("confidence_level", "share", GIVEN, ("#summary",)),
    Origin("timings_s.*", "s", "measured by the coordinator", ("#settings",)),
)

COHORT = (
    Origin("cohort.sites.*.n_cases", "cases", OWN, ("sites", "#summary")),
    Origin("cohort.sites.*.n_excluded", "cases", OWN, ("sites",)),
    Origin("cohort.sites.*.exclusion_reasons|missing_phases.*", "cases", OWN, ("sites",)),
    Origin("cohort.sites.*.splits.*.n|n_positive", "cases", OWN, ("sites",)),
    Origin("cohort.table.*.groups.*.n", "cases", TABLE, ("characteristics",)),
    Origin("cohort.table.*.groups.*.mean", "mean", TABLE, ("characteristics",), "n"),
    Origin("cohort.table.*.groups.*.sd", "standard deviation", TABLE, ("characteristics",), "n"),
)
