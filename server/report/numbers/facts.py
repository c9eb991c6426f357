"""How this study obtained what studies obtain in several ways, as parts of a sentence."""

from collections.abc import Mapping, Sequence

from server.report.words import Results, listed

SCREENS = {
    "van_elteren": "van Elteren's test from each site's own ranks, stratified by site",
    "welch": "Welch's test from the training sites' pooled moments by label",
    "mann_whitney": "Mann-Whitney test from the sites' counts at pooled quantiles",
}
LASSOS = {
    "log_loss": "logistic LASSO by the sites' summed gradients and Hessians, each at its intercept",
    "squared_error": "linear LASSO from the sites' summed products for each fold",
}
EXCHANGES = {
    "embeddings": "from rows of embeddings, scores and clinical data that the sites disclose",
    "embeddings+dp": "from rows with noise that the sites disclose",
    "scores": "from rows of scores and clinical data that the sites disclose",
    "statistics": "from sums that the sites told; nothing of single patients",
    "statistics+dp": "from sums with noise that the sites told; nothing of single patients",
}
HEATS = {"grad_cam": "heat by Grad-CAM", "occlusion": "heat by occlusion"}


def facts(results: Results) -> Mapping[str, str]:
    """What the words in braces in the sentences of origins stand for."""
    radiomics = results.get("radiomics") or {}
    methods = {v.get("method") for v in (results.get("explanations") or {}).values()}
    screen = (radiomics.get("screen") or {}).get("test")
    loss = (radiomics.get("lasso") or {}).get("loss")
    exchange = (results.get("fusion") or {}).get("exchange")
    learnt = (radiomics.get("bin_widths_hu") or {}).get("learnt")
    return {
        "external": _external(results),
        "fusion": EXCHANGES.get(str(exchange), "from what the sites told for the fusion layer"),
        "heat": HEATS.get(str(next(iter(methods), None)), "heat"),
        "lasso": LASSOS.get(str(loss), "LASSO from sums of the training sites"),
        "screen": SCREENS.get(str(screen), "screening test from the training sites' statistics"),
        "widths": "learnt from the sites' ranges" if learnt else "given in the study file",
    }


def _external(results: Results) -> str:
    """How the numbers of all external patients together were had."""
    looks = results.get("external_looks") or {}
    asked = [site for site, told in looks.items() if told.get("by") == "server"]
    if len(asked) == 1:
        return f"computed inside {asked[0]} at full precision, from every score of its patients"
    return f"{_pooled([looks[site].get('level') for site in asked])} of {listed(asked)}, added up"


def _pooled(levels: Sequence[object]) -> str:
    return "summaries' counts" if "summary" in levels else "binned scores and counts"
