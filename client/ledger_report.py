"""The ledger in words: what `trifed site privacy` prints."""

from shared.privacy import FUSION, Spent, epsilon, of_network


def ledger_lines(
    spent: Spent, max_epsilon: float | None, max_fusion_epsilon: float | None = None
) -> list[str]:
    """Each booking, each study's epsilons of networks and fusion layer, the total, what is left."""
    if not spent:
        return ["Nothing is booked: nothing was fitted under differential privacy here."]
    lines = ["Bookings, each made before its round was trained, or its answer left:"]
    lines += [
        f"  study {entry.study[:12]}  {entry.network}  round {entry.round}: {entry.steps} steps, "
        f"each patient drawn with probability {entry.sample_rate:.4g}, "
        f"noise multiplier {entry.noise_multiplier:g}"
        for entry in spent
    ]
    lines.append("Epsilon of each network and fusion layer:")
    for study, network in dict.fromkeys((entry.study, entry.network) for entry in spent):
        own = of_network(spent, study, network)
        delta, budget = own[-1].delta, own[-1].budget
        used = epsilon(own, delta)
        lines.append(
            f"  study {study[:12]}  {network}: {used:.2f} at delta {delta:g}; "
            f"left {max(budget - used, 0):.2f} of {budget:g}"
        )
    delta = min(entry.delta for entry in spent)
    total = epsilon(spent, delta)
    limit = "no limit is set (dp.max_epsilon)"
    if max_epsilon is not None:
        limit = f"left {max(max_epsilon - total, 0):.2f} of dp.max_epsilon {max_epsilon:g}"
    of_fusion = tuple(entry for entry in spent if entry.network == FUSION)
    if of_fusion:
        used = epsilon(of_fusion, delta)
        most = "no limit is set (dp.max_fusion_epsilon)"
        if max_fusion_epsilon is not None:
            rest = max(max_fusion_epsilon - used, 0)
            most = f"left {rest:.2f} of dp.max_fusion_epsilon {max_fusion_epsilon:g}"
        lines.append(f"Fusion layers of all studies: {used:.2f} at delta {delta:g}; {most}.")
    lines.append(f"All together, composed: {total:.2f} at delta {delta:g}; {limit}.")
    lines.append(
        "It bounds what the networks' weights and the fusion layer show of any one patient; other "
        "scores, sums and counts are not part of it."
    )
    return lines
