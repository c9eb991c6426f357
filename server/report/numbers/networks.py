"""Where the numbers of the networks' training, privacy and explanation are from."""

from dataclasses import replace

from server.report.numbers.cohort import GIVEN
from server.report.numbers.origin import Origin, under

SENT = "counted by the server as messages came and went"
TUNE = "the round's weights applied by each site to its tune split; binned scores added up"
SPENT = "composed numerically (PRV accountant) over the steps in the site's own ledger"
BOOKED = "from the site's own ledger"
TABLE, CURVES = ("training",), ("training-{0}",)

NETWORK = (
    Origin("n_parameters|n_frozen", "parameters", "counted in the network", TABLE),
    Origin("initial_weights.taken", "tensors", "counted while the file was read", TABLE),
    Origin("best_round", "round", "chosen by the server on the tune split", TABLE + CURVES),
    Origin("last_round", "round", "counted by the server"),
    Origin("bytes_down|bytes_up", "bytes", SENT, TABLE),
    Origin("rounds.*.round", "round", "counted by the server", CURVES),
    Origin("rounds.*.loss", "cross-entropy", "mean of the sites' losses by cases", (), "n_cases"),
    Origin("rounds.*.tune_auc", "AUC", TUNE, TABLE + CURVES),
    Origin("rounds.*.tune_loss", "cross-entropy", TUNE, TABLE + CURVES),
    Origin("rounds.*.n_cases", "cases", "told by the sites and added up"),
    Origin("rounds.*.bytes_down|bytes_up", "bytes", SENT),
    Origin("rounds.*.sites.*.loss", "cross-entropy", "told by the site", CURVES, "n_cases"),
    Origin("rounds.*.sites.*.n_cases", "cases", "told by the site"),
    Origin("privacy.*.epsilon", "epsilon", SPENT, ("#branches",)),
    Origin("privacy.*.delta", "delta", GIVEN, ("#branches",)),
    Origin("privacy.*.history.*.round", "round", BOOKED),
    Origin("privacy.*.history.*.noise_multiplier|sample_rate", "setting", BOOKED),
    Origin("privacy.*.history.*.steps", "steps", BOOKED),
)


def _fold(origin: Origin) -> Origin:
    """The same of a network that was trained without one outer fold."""
    return replace(origin, how=f"{origin.how}; trained without one outer fold", where=())


HEAT = "each site's sums over its internal test patients, added up; {heat}"
EXPLAINED, FIGURE = ("explanations",), ("heat-{0}",)
REGION = "inside|ring|elsewhere"
REGIONS = (
    Origin(f"{REGION}.mean", "share of heat", f"{HEAT}; Student's interval", EXPLAINED, "n"),
    Origin(f"{REGION}.sd", "standard deviation", HEAT, (), "n"),
    Origin(f"{REGION}.area_share", "share of field", HEAT, EXPLAINED, "n"),
    Origin(f"{REGION}.enrichment", "ratio", f"{HEAT}; share over share", EXPLAINED, "n"),
    Origin(f"{REGION}.histogram.edges", "share of heat", "fixed bins", FIGURE),
    Origin(f"{REGION}.histogram.counts", "patients", HEAT, FIGURE),
)


def _untrained(origin: Origin) -> Origin:
    where = tuple(name for name in origin.where if name == "explanations")
    return replace(origin, how=f"{origin.how}; network before any training", where=where)


EXPLANATION = (
    Origin("n|n_without_heat", "patients", HEAT, EXPLAINED + FIGURE),
    Origin("map_radii", "tumour radii", "reach of the mean map", FIGURE),
    Origin("mean_map", "heat", HEAT, FIGURE, "n"),
    Origin("excess.mean", "share of heat", f"{HEAT}; Student's interval", (), "n"),
    Origin("excess.sd", "standard deviation", HEAT, (), "n"),
    *REGIONS,
    *under("untrained", map(_untrained, REGIONS)),
)

NETWORKS = (
    *under("branches.*", NETWORK),
    *under("branches.*.without_folds.*", map(_fold, NETWORK)),
    Origin("privacy.*.epsilon", "epsilon", f"{SPENT}; all networks together", ("#branches",)),
    Origin("privacy.*.delta", "delta", GIVEN, ("#branches",)),
    *under("explanations.*", EXPLANATION),
)
