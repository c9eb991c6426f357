"""Where the numbers of the study and of its cohort are from."""

from server.report.numbers.origin import Origin, under

GIVEN = "given in the study file"
OWN = "told by {0} as a count of its own cases"
QUARTILES = (
    "sought by halving, from how many values of the training sites are at or below numbers asked; "
    "at most a 4096th of the range searched too large"
)
MOMENTS = "told by {0} as counts, means and sums of squared deviations, by label"
TABLE = "pooled from the training sites' counts, means and sums of squared deviations, by label"
IMAGES = "told by {0} as a count of its {1} images"
HEADERS = "told by {0} as counts, means and sums of squared deviations over headers of {1} images"
WORDS = "told by {0} as a count over headers of {1} images; values of too few images are one number"

STUDY = (
    Origin("format", "version", "the form of the file"),
    Origin("study.seed", "setting", GIVEN, ("#top",)),
    Origin("confidence_level", "share", GIVEN, ("#summary",)),
    Origin("timings_s.*", "s", "measured by the coordinator", ("#settings",)),
)


def _table(cohort: str, how: str, everyone: str) -> tuple[Origin, ...]:
    """The numbers of one cohort's Table 1."""
    by_label = f"characteristics-{cohort}"
    where = (everyone, by_label)
    test = f"{how}; chi-square or Fisher's test of counts, Welch's of means"
    return (
        Origin("table.*.groups.*.n|missing|count", "cases", how, where),
        Origin("table.*.groups.*.mean", "mean", how, where, "n"),
        Origin("table.*.groups.*.sd", "standard deviation", how, where, "n"),
        Origin("table.*.groups.*.quartiles", "quartiles", QUARTILES, where, "n"),
        Origin("table.*.test.p", "P value", test, (by_label,)),
        Origin("table.*.smd", "standardised difference", how, (by_label,)),
    )


ACQUISITION = (
    Origin("n_images", "images", IMAGES, ("acquisition",)),
    Origin("in_plane_mm|slice_mm.n", "images", HEADERS, ("acquisition",)),
    Origin("in_plane_mm|slice_mm.mean", "mm", HEADERS, ("acquisition",), "n"),
    Origin("in_plane_mm|slice_mm.sd", "mm, standard deviation", HEADERS, ("acquisition",), "n"),
    Origin("kvp|manufacturer|kernel.*", "images", WORDS, ("acquisition",)),
)

COHORT = (
    Origin("cohort.sites.*.n_cases", "cases", OWN, ("sites", "#summary")),
    Origin("cohort.sites.*.n_excluded", "cases", OWN, ("sites",)),
    Origin("cohort.sites.*.exclusion_reasons|missing_phases.*", "cases", OWN, ("sites",)),
    Origin("cohort.sites.*.splits.*.n|n_positive", "cases", OWN, ("sites",)),
    *under("cohort.sites.*.acquisition.*", ACQUISITION),
    *under("cohort", _table("training-sites", TABLE, "characteristics")),
    *under("cohort.external.*", _table("{0}", MOMENTS, "characteristics")),
)
