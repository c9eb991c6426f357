"""The server's half of `external_evaluate`."""

from collections.abc import Sequence

from server.coordinator import Coordinator, need
from server.stages.hello import greet
from server.stages.train_branches import best_weights
from server.study import EvaluationRecord, ExternalRecord, Study
from shared.config import networks
from shared.stages.evaluate import OutputsRequest, ScoresRequest
from shared.stages.external_evaluate import EXTERNAL_OUTPUTS, EXTERNAL_SCORES, ExternalReply
from shared.stages.hello import EXTERNAL_HELLO


def run(study: Study, coordinator: Coordinator) -> Study:
    """Send the frozen bundle to sites that took part in nothing before, once."""
    evaluation: EvaluationRecord = need(study.evaluate, "evaluate")
    bundle, sites = evaluation.bundle, coordinator.external
    if not sites:
        record = ExternalRecord(bundle.hash(), {}, False)
        return coordinator.save(study, external_evaluate=record)
    replies, synthetic = show_bundle(study, coordinator, sites)
    record = ExternalRecord(bundle.hash(), replies, synthetic)
    return coordinator.save(study, external_evaluate=record)


def show_bundle(
    study: Study, coordinator: Coordinator, sites: Sequence[str]
) -> tuple[dict[str, ExternalReply], bool]:
    """What sites tell of the frozen bundle, and whether any has made-up patients.

    Raises:
        FederationError: If a site does not answer.
        HandshakeError: If a site is not who, or does not run what, the study expects.
    """
    evaluation: EvaluationRecord = need(study.evaluate, "evaluate")
    greetings = greet(coordinator, EXTERNAL_HELLO, sites)
    for network in networks(coordinator.settings):
        request = OutputsRequest(network.name, best_weights(study, coordinator, network))
        coordinator.federation.ask(EXTERNAL_OUTPUTS, request, sites)
    scores = ScoresRequest(evaluation.bundle)
    replies = coordinator.federation.ask(EXTERNAL_SCORES, scores, sites)
    return replies, any(greeting.synthetic for greeting in greetings.values())
