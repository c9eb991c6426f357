"""The site's half of `standardise`."""

from client.workbench import Workbench
from shared.moments import moments
from shared.stages.standardise import Reply, Request


def answer(request: Request, bench: Workbench) -> Reply:  # noqa: ARG001
    """Moments of the radiomics features of the training cases."""
    return Reply(moments(*bench.site.features(bench.site.training)))
