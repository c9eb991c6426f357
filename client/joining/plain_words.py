"""What a study is and asks of a hospital, in words for whoever decides whether to join."""

from collections.abc import Sequence

from client.policy.beyond import asked_rows, beyond
from client.policy.keys import exceptions, said
from client.policy.settings import Policy
from client.settings import SiteSettings
from shared.config import Study, all_networks

LABEL = "  {:11}{}"
ROW_MODES = {"scores", "embeddings+dp", "embeddings"}


def study_lines(study: Study, study_hash: str) -> list[str]:
    """What the study is."""
    endpoint = study.endpoint
    return [
        study.title,
        _line("study", f"{study.name}, hash {study_hash[:16]}"),
        _line(
            "predicts",
            f"{endpoint.name}, from the column {endpoint.column}: positive "
            f"{_listed(endpoint.positive)}; negative {_listed(endpoint.negative)}",
        ),
        _line("CT phases", _listed(study.phases)),
        _line("trained at", _listed(study.sites.training)),
        _line("tested at", _listed(study.sites.external) + " (sites that only evaluate)"),
    ]


def asked_lines(study: Study, settings: SiteSettings) -> list[str]:
    """What the study asks of a site in this role."""
    if settings.role == "external":
        return [
            f"It asks {settings.name} (external) to evaluate the finished models on its patients. "
            "Nothing is trained on them."
        ]
    lines = [
        f"It asks {settings.name} (training) for:",
        _line("statistics", "counts, sums and sums of squares of clinical data and radiomics"),
    ]
    if study.branches:
        n = len(all_networks(study))
        rounds = sum(network.branch.training.rounds for network in all_networks(study))
        lines.append(_line("networks", f"weights of {n} networks, {rounds} rounds in all"))
    if study.fusion.is_private:
        dp = study.fusion.dp
        lines.append(
            _line("fusion", f"told with noise: epsilon {dp.epsilon:g}, delta {dp.delta:g} at most")
        )
    rows = asked_rows(study)
    if rows:
        whose = f"{study.fusion.rows_of} patients"
        lines.append(_line("rows", f"of single {whose}, without an id: {_listed(rows)}"))
    return lines


def leaves_lines(study: Study, settings: SiteSettings, policy: Policy) -> list[str]:
    """What the policy lets leave, its exceptions, and what the study asks beyond it."""
    release = policy.release
    until = "" if policy.valid_until is None else f", valid until {policy.valid_until}"
    lines = [
        f"Your policy (pack {policy.pack}{until}) lets leave:",
        _line("numbers", f"nothing of fewer than {release.min_cell} patients (release.min_cell)"),
    ]
    if settings.role == "external":
        lines.append(_line("evaluation", f"release.external: {release.external}"))
    else:
        lines.append(_line("rows", _rows(policy)))
        if study.branches:
            lines.append(_line("networks", _privacy(study, policy)))
    lines += [_line("exception", text) for text in exceptions(policy)]
    asked = beyond(policy, study, settings)
    return lines + [f"The study is refused here: {text}." for text in asked]


def _rows(policy: Policy) -> str:
    release = policy.release
    if not release.rows or not release.rows_of or not {*release.exchange} & ROW_MODES:
        return (
            f"nothing about single patients (release.rows: {said(release.rows)}, "
            f"release.exchange: {said(release.exchange)})"
        )
    whose = _listed(release.rows_of)
    return f"of {whose} patients, without an id: {_listed(release.rows)}"


def _privacy(study: Study, policy: Policy) -> str:
    most = policy.dp.max_epsilon
    limit = "no limit of your own" if most is None else f"your limit is {most:g}"
    if study.dp is None:
        return f"weights without noise, epsilon is infinite ({limit}: dp.max_epsilon)"
    return f"weights with noise, epsilon up to {study.dp.cnn.epsilon:g} ({limit})"


def _line(label: str, text: str) -> str:
    return LABEL.format(label, text)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
