"""Where the numbers of single hospitals, and of the differences between them, are from."""

from server.report.numbers.origin import Origin, under

EACH, FOREST, BETWEEN = "hospitals-auc", "hospitals", "hospitals-differences"
ALONE = "{1}'s own test patients: counts in bins, or every score where it is external"
EFFECTS = "random effects on the logit of the hospitals' AUCs, DerSimonian and Laird"

HOSPITALS = tuple(
    under(
        "hospitals.*",
        (
            Origin("sites.*.n|n_positive", "cases", ALONE, (EACH, FOREST)),
            Origin("sites.*.auc", "AUC", f"{ALONE}; DeLong's interval", (EACH, FOREST), "n"),
            Origin("between.n_hospitals", "hospitals", "counted", (BETWEEN, FOREST)),
            Origin("between.mean", "AUC", EFFECTS, (BETWEEN, FOREST)),
            Origin(
                "between.prediction_low|prediction_high",
                "AUC",
                f"{EFFECTS}; t with two degrees of freedom less than hospitals",
                (BETWEEN, FOREST),
            ),
            Origin("between.tau", "SD of logits", EFFECTS, (BETWEEN,)),
            Origin("between.q", "chi-square", "Cochran's Q of the logits", (BETWEEN,)),
            Origin("between.p", "P value", "Cochran's Q of the logits", (BETWEEN, FOREST)),
            Origin("between.i2", "share", "from Cochran's Q", (BETWEEN, FOREST)),
        ),
    )
)
