"""What a study asks beyond a hospital's policy, before anything is computed for it."""

from collections.abc import Sequence
from pathlib import Path

from client.cohort.manifest import Case
from client.policy.keys import said
from client.policy.load import load_policy
from client.policy.settings import Policy
from client.settings import SiteSettings
from shared.branches import Branch
from shared.config import Study
from shared.errors import CohortError, PolicyError
from shared.secure_study import hindrances

LABELS = ("negative", "positive")


def beyond(policy: Policy, study: Study, settings: SiteSettings) -> list[str]:
    """Everything that the study asks of this site beyond the policy, a line naming both keys each.

    An external site is only asked how models do, and tells what its policy allows of that.
    """
    if settings.role == "external":
        return []
    has_images = settings.data.features is None
    found = rows_beyond(policy, study, has_images=has_images)
    if not study.fusion.tells_rows:
        found += exchange_beyond(policy, study)
    if has_images:
        for branch in study.branches:
            found += _training_beyond(policy, branch)
    found += noise_beyond(policy, study) + fusion_noise_beyond(policy, study)
    return found + sums_beyond(policy, study)


def policy_for(site_file: Path, settings: SiteSettings, study: Study) -> Policy:
    """The policy of a site, if it is in force and allows what the study asks.

    Raises:
        PolicyError: If it does not.
    """
    policy = load_policy(site_file, settings)
    refuse_beyond(policy, study, settings)
    return policy


def refuse_beyond(policy: Policy, study: Study, settings: SiteSettings) -> None:
    """Refuse a study that asks for more than the policy allows.

    Raises:
        PolicyError: Naming all that it asks beyond it.
    """
    found = beyond(policy, study, settings)
    if found:
        listed = "\n".join(f"  - {line}" for line in found)
        raise PolicyError(
            f"the study {study.name} asks for more than policy.yaml of this hospital allows:\n"
            f"{listed}\nTell the coordinator, or let whoever decides that in your hospital change "
            "the policy."
        )


def asked_rows(study: Study) -> tuple[str, ...]:
    """What the study asks of single patients, in the words of `release.rows`."""
    if not study.fusion.tells_rows:
        return ()
    branches = "scores" if study.fusion.takes_scores else "embeddings"
    inputs = (branches if what == "embeddings" else what for what in study.fusion.inputs)
    return ("labels", *inputs)


def rows_beyond(policy: Policy, study: Study, *, has_images: bool) -> list[str]:
    """The study's rows about single patients that the policy does not let leave.

    Args:
        has_images: A site that brings its features as a table has neither embeddings nor scores.
    """
    of_networks = {"embeddings", "scores"}
    rows = [row for row in asked_rows(study) if has_images or row not in of_networks]
    if not rows:
        return []
    fusion, release = study.fusion, policy.release
    lines = exchange_beyond(policy, study, or_scores=not of_networks & set(rows))
    most = release.max_dimension
    if "embeddings" in rows and study.embedding.dimension > most:
        lines.append(
            f"embedding.dimension of the study is {study.embedding.dimension}, and "
            f"release.max_dimension of the policy is {most}"
        )
    lacking = [row for row in rows if row not in release.rows]
    if lacking:
        lines.append(
            f"fusion.inputs of the study asks for rows of {', '.join(rows)}, and release.rows of "
            f"the policy lacks {', '.join(lacking)}"
        )
    if fusion.rows_of not in release.rows_of:
        lines.append(
            f"fusion.fit_on of the study is {fusion.fit_on}, for rows of {fusion.rows_of} "
            f"patients, and release.rows_of of the policy lacks {fusion.rows_of}"
        )
    return lines


def exchange_beyond(policy: Policy, study: Study, *, or_scores: bool = False) -> list[str]:
    """The mode of the study's fusion layer, if the policy does not name it.

    Args:
        or_scores: Whether the site has nothing of networks, so that rows of it are as in `scores`.
    """
    asked, named = study.fusion.exchange, policy.release.exchange
    if asked in named or (or_scores and "scores" in named):
        return []
    return [
        f"fusion.exchange of the study is {asked}, and release.exchange of the policy names "
        f"{', '.join(named) or 'none'}"
    ]


def refuse_small_cohort(policy: Policy, settings: SiteSettings, cases: Sequence[Case]) -> None:
    """Refuse to take part with fewer usable patients than the policy demands.

    Raises:
        CohortError: Naming the count, the key and the remedy.
    """
    external, limits = settings.role == "external", policy.cohort
    key = "min_external" if external else "min_patients"
    counts = [("usable patients", key, len(cases))]
    counts += [
        (f"usable {word} patients", "min_class", sum(case.label == label for case in cases))
        for label, word in enumerate(LABELS)
    ]
    for what, name, n in counts:
        least = getattr(limits, name)
        if n < least:
            raise CohortError(
                f"{settings.name}: has {n} {what}, and cohort.{name} of policy.yaml demands "
                f"{least}. Add patients, or let whoever decides that in your hospital lower it."
            )


def _training_beyond(policy: Policy, branch: Branch) -> list[str]:
    training, limits, whose = branch.training, policy.train, f"the study's branch {branch.name}"
    lines = []
    if training.rounds > limits.max_rounds:
        lines.append(
            f"training.rounds of {whose} is {training.rounds}, and train.max_rounds of the policy "
            f"is {limits.max_rounds}"
        )
    if training.batch_size < limits.min_batch:
        lines.append(
            f"training.batch_size of {whose} is {training.batch_size}, and train.min_batch of the "
            f"policy is {limits.min_batch}"
        )
    if training.learning_rate > limits.max_lr:
        lines.append(
            f"training.learning_rate of {whose} is {training.learning_rate:g}, and train.max_lr "
            f"of the policy is {limits.max_lr:g}"
        )
    if training.local_epochs > limits.max_epochs:
        lines.append(
            f"training.local_epochs of {whose} is {training.local_epochs}, and train.max_epochs of "
            f"the policy is {limits.max_epochs}"
        )
    return lines


def noise_beyond(policy: Policy, study: Study) -> list[str]:
    """What the study's networks would show of a patient beyond the policy."""
    if not study.branches:
        return []
    limits = policy.dp
    if study.dp is None:
        key = "required" if limits.required else "max_epsilon"
        if not limits.required and limits.max_epsilon is None:
            return []
        return [
            "the study has no section dp: its networks are trained without noise (epsilon is "
            f"infinite), and dp.{key} of the policy is {said(getattr(limits, key))}"
        ]
    lines, asked = [], study.dp.cnn
    if limits.max_epsilon is not None and asked.epsilon > limits.max_epsilon:
        lines.append(
            f"dp.cnn.epsilon of the study is {asked.epsilon:g}, and dp.max_epsilon of the policy "
            f"is {limits.max_epsilon:g}"
        )
    if asked.delta > limits.max_delta:
        lines.append(
            f"dp.cnn.delta of the study is {asked.delta:g}, and dp.max_delta of the policy is "
            f"{limits.max_delta:g}"
        )
    return lines


def fusion_noise_beyond(policy: Policy, study: Study) -> list[str]:
    """What a fusion layer fitted with noise would show of a patient beyond the policy."""
    fusion, limits, lines = study.fusion, policy.dp, list[str]()
    if not fusion.is_private:
        return lines
    for key, limit in (
        ("max_fusion_epsilon", limits.max_fusion_epsilon),
        ("max_epsilon", limits.max_epsilon),
    ):
        if limit is not None and fusion.dp.epsilon > limit:
            lines.append(
                f"fusion.dp.epsilon of the study is {fusion.dp.epsilon:g}, and dp.{key} of the "
                f"policy is {limit:g}"
            )
    if fusion.dp.delta > limits.max_delta:
        lines.append(
            f"fusion.dp.delta of the study is {fusion.dp.delta:g}, and dp.max_delta of the policy "
            f"is {limits.max_delta:g}"
        )
    return lines


def sums_beyond(policy: Policy, study: Study) -> list[str]:
    """Why the study would need this hospital's own sums, where the policy keeps them hidden."""
    if not policy.secagg.required:
        return []
    off = ["secagg of the study is off"] if study.secagg == "off" else []
    return [
        f"{line}, and secagg.required of the policy is true" for line in off + hindrances(study)
    ]
