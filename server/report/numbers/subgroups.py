"""Where the numbers of subgroups are from."""

from server.report.numbers.models import BINS, COUNTS, INSIDE
from server.report.numbers.origin import Origin, under

FOREST = ("subgroups",)
Q = "Cochran's Q of the subgroups' AUCs, weighed by the inverse of DeLong's variances"


def _cohort(pooled: str, counts: str, table: str, figure: tuple[str, ...]) -> tuple[Origin, ...]:
    shown = (table,)
    return (
        Origin("*.n_without", "cases", "counted by the sites that told of the column", shown),
        *under(
            "*.models.*",
            (
                Origin("groups.*.n|n_positive", "cases", counts, shown + figure),
                Origin("groups.*.n_missing", "cases", counts),
                Origin("groups.*.auc", "AUC", f"{pooled}; DeLong's variance", shown + figure, "n"),
                Origin(
                    "groups.*.sensitivity|specificity",
                    *("proportion", f"{counts}; Wilson's interval", shown, "n"),
                ),
                Origin("between.n_groups", "subgroups", "counted"),
                Origin("between.q", "chi-square", Q),
                Origin("between.df", "degrees of freedom", "subgroups less one"),
                Origin("between.p", "P value", Q, shown),
            ),
        ),
    )


def _of(split: str, pooled: str, counts: str) -> tuple[Origin, ...]:
    """One split's, whose name the table bears."""
    return tuple(under(f"subgroups.{split}", _cohort(pooled, counts, f"subgroups-{split}", FOREST)))


SUBGROUPS = (
    *_of("internal_test", BINS, COUNTS),
    *_of("external_test", "{external}", "{external}"),
    *under("subgroups.added.*", _cohort(INSIDE, INSIDE, "subgroups-{0}", ())),
)
