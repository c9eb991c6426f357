"""What a study is and asks of a hospital, in words for whoever decides whether to join."""

from collections.abc import Sequence

from client.settings import SiteSettings
from shared.config import Study, all_networks

LABEL = "  {:11}{}"


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
    rows = asked_rows(study)
    if rows:
        whose = f"{study.fusion.rows_of} patients"
        lines.append(_line("rows", f"of single {whose}, without an id: {_listed(rows)}"))
    return lines


def leaves_lines(study: Study, settings: SiteSettings) -> list[str]:
    """What the site file lets leave, and where that is less than the study asks for."""
    release = settings.release
    lines = [
        "Your site file lets leave:",
        _line("numbers", f"nothing of fewer than {release.min_cell} patients (release.min_cell)"),
    ]
    if settings.role == "external":
        return [*lines, _line("evaluation", f"release.external: {release.external}")]
    if settings.disclose:
        whose = _listed(settings.disclose_of)
        text = f"of {whose} patients, without an id: {_listed(settings.disclose)}"
    else:
        text = "nothing about single patients (disclose: [])"
    lines.append(_line("rows", text))
    if study.branches:
        lines.append(_line("networks", _privacy(study, settings)))
    return lines + [f"The study will stop here: {what}" for what in _not_permitted(study, settings)]


def asked_rows(study: Study) -> tuple[str, ...]:
    """What the study asks of single patients, in the words of `disclose`."""
    if study.fusion.exchange == "statistics":
        return ()
    branches = "scores" if study.fusion.exchange == "scores" else "embeddings"
    inputs = (branches if what == "embeddings" else what for what in study.fusion.inputs)
    return ("labels", *inputs)


def _privacy(study: Study, settings: SiteSettings) -> str:
    most = settings.release.max_epsilon
    limit = "no limit of your own" if most is None else f"your limit is {most:g}"
    if study.dp is None:
        return f"weights without noise, epsilon is infinite ({limit}: release.max_epsilon)"
    return f"weights with noise, epsilon up to {study.dp.cnn.epsilon:g} ({limit})"


def _not_permitted(study: Study, settings: SiteSettings) -> list[str]:
    """What the study will be refused, unless the site file is changed."""
    has_images = settings.data.features is None
    rows = [
        what
        for what in asked_rows(study)
        if what not in settings.disclose and (has_images or what not in ("embeddings", "scores"))
    ]
    found = []
    if rows:
        found.append(f"disclose lacks {_listed(rows)}.")
    if asked_rows(study) and study.fusion.rows_of not in settings.disclose_of:
        found.append(f"disclose_of lacks {study.fusion.rows_of}.")
    if study.branches and study.dp is None and settings.release.max_epsilon is not None:
        found.append("networks are trained without noise, and release.max_epsilon is a number.")
    return found


def _line(label: str, text: str) -> str:
    return LABEL.format(label, text)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
