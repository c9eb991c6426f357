"""The site's half of `hello`."""

from client.workbench import Workbench
from shared.config import digest
from shared.errors import HandshakeError
from shared.identity import code_hash, differing_versions, versions
from shared.stages.hello import Reply, Request


def answer(request: Request, bench: Workbench) -> Reply:
    """Say what runs here, and refuse a server that runs something else."""
    mine = Reply(
        site=bench.site.name,
        role=bench.site.role,
        synthetic=bench.site.settings.synthetic,
        code_hash=code_hash(),
        study_hash=digest(bench.study),
        versions=versions(),
        secure_sums=bench.site.policy.secagg.required and bench.site.role == "training",
    )
    if request.code_hash != mine.code_hash:
        raise HandshakeError(
            "the server runs other code of trifed than this site; install the same release."
        )
    if request.study_hash != mine.study_hash:
        raise HandshakeError("the server's study file is not this site's; compare the two files.")
    differing = differing_versions(request.versions, mine.versions)
    if differing:
        raise HandshakeError(f"libraries differ from the server's: {differing}.")
    return mine
