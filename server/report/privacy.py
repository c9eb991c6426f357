"""What the report says about the privacy of the networks' weights and of the fusion layer."""

from server.report.words import Results, listed, number

REACH = (
    "Epsilon bounds what the weights show of one training patient, and nothing else: the numbers "
    "of cases, the scores of any patients and the sums of the other stages are not covered. The "
    "training loss was not told under differential privacy."
)

SECURE = (
    "Secure sums: what is only ever added (moments, sums of products, gradients and their "
    "matrices, counts, weights times numbers of patients) left each training hospital under masks "
    "that vanish in the sum over all of them alone. So nothing is said here of a single hospital's "
    "features, weights or losses: whether features tell the hospitals apart was not tried, no "
    "hospital's share in the networks was looked at, nor, where the fusion layer was fitted on "
    "sums, what each hospital does to it. Who took part, and how the models did on the "
    "patients of each hospital, was told in clear."
)


def secure_line(results: Results) -> str:
    """What secure sums hid, from the server and so from this report; empty without them."""
    return SECURE if results.get("secure_sums") else ""


def privacy_line(results: Results) -> str:
    """The epsilon of each network at each site, or that there is none; empty without networks."""
    branches = {name: value for name, value in (results.get("branches") or {}).items() if value}
    if not branches:
        return ""
    told = {name: value["privacy"] for name, value in branches.items() if value.get("privacy")}
    if not told:
        return (
            "The networks were trained without differential privacy: CNN weights carry no formal "
            "guarantee (epsilon = infinity)."
        )
    lines = [_network_line(name, sites) for name, sites in told.items()]
    return " ".join([*lines, _together_line(results), REACH])


def _network_line(network: str, sites: Results) -> str:
    parts = [f"{site} {number(entry['epsilon'], 2)}" for site, entry in sites.items()]
    deltas = sorted({entry["delta"] for entry in sites.values()})
    most = max(entry["epsilon"] for entry in sites.values())
    return (
        f"{network} was trained under differential privacy: epsilon is {listed(parts)} (delta "
        f"{deltas[0]:g}), so {number(most, 2)} at most for any patient, who is at one site only."
    )


def _together_line(results: Results) -> str:
    sites = results.get("privacy") or {}
    if not sites:
        return "A patient is in all networks of a site: their epsilons add up."
    most = max(entry["epsilon"] for entry in sites.values())
    return (
        "A patient is in all networks of a site, those trained without folds included: together "
        f"their epsilon is {number(most, 2)} at most."
    )


def fusion_privacy_line(results: Results) -> str:
    """How the fusion layer was fitted, and its epsilon at each site; empty without a layer."""
    fusion = results.get("fusion") or {}
    mode, sites = fusion.get("exchange"), fusion.get("privacy") or {}
    if not mode:
        return ""
    if mode == "embeddings" and not results.get("branches"):
        mode = "rows"  # there are no networks, and so no embeddings in them
    if not sites:
        return (
            f"What the sites told for the fusion layer (mode {mode}) was told without noise: it "
            f"carries no formal guarantee (epsilon = infinity).{_until(fusion)}"
        )
    parts = [f"{site} {number(entry['epsilon'], 2)}" for site, entry in sites.items()]
    deltas = sorted({entry["delta"] for entry in sites.values()})
    return (
        f"What the sites told for the fusion layer (mode {mode}) was told under differential "
        f"privacy: epsilon is {listed(parts)} (delta {deltas[0]:g}). It covers that alone, and not "
        "what the networks, the radiomics score, the clinical model or any counts of scores tell "
        f"of the same patients.{_until(fusion)}"
    )


def _until(fusion: Results) -> str:
    day = fusion.get("delete_rows_by")
    return (
        f" The rows about single patients are to be deleted by {day} at the latest." if day else ""
    )
