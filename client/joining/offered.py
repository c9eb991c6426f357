"""A study that is offered to a hospital: as a file, or within an invitation or a bundle."""

from dataclasses import dataclass
from pathlib import Path

from shared.bundle_file import read_bundle
from shared.config import Study, digest, load_study
from shared.invitation import SUFFIX, Invitation, read_invitation

BUNDLE = ".bundle"


@dataclass(frozen=True, slots=True)
class Offered:
    """The study, and the invitation that it came in, if it did."""

    study: Study
    invitation: Invitation | None

    @property
    def study_hash(self) -> str:
        """The study's hash."""
        return digest(self.study)


def read_offered(path: Path, *, told: str | None = None) -> Offered:
    """Read a study file, an invitation or a bundle; the latter two are known by how they end.

    Args:
        told: The fingerprint of the server's key as the coordinator told it.

    Raises:
        ConfigError: If it is a study file that does not say what it must.
        BundleError: If it is a bundle that is damaged.
        InvitationError: If it is an invitation that is damaged, or not from that key.
        HandshakeError: If the server of the invitation runs other code.
    """
    if path.name.endswith(SUFFIX):
        invitation, study = read_invitation(path, told=told)
        return Offered(study, invitation)
    if path.suffix == BUNDLE:
        return Offered(read_bundle(path).study, None)
    return Offered(load_study(path), None)
