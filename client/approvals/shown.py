"""What a person is shown before approving a study."""

from pathlib import Path

from client.forecast.forecast import forecast
from client.forecast.words import short_lines, total_lines
from client.joining.offered import Offered
from client.joining.plain_words import study_lines
from client.secagg.shown import peer_lines
from shared.fingerprints import grouped


def shown_lines(offered: Offered, site_file: Path) -> list[str]:
    """Who signed it, what it is, and what would leave, a line for each answer."""
    found = forecast(offered.study, site_file)
    return [
        *signed_lines(offered),
        *study_lines(offered.study, offered.study_hash),
        "",
        f"What would leave {found.site} ({found.role}):",
        *short_lines(found),
        *total_lines(found),
        "",
        *peer_lines(site_file.resolve().parent),
        "",
        f"The study's hash: {offered.study_hash}",
    ]


def signed_lines(offered: Offered) -> list[str]:
    """Whose signature the study has, if it has one."""
    if offered.invitation is None:
        return ["This file is signed by nobody: compare its hash with what the coordinator tells."]
    fingerprint = grouped(offered.invitation.fingerprint)
    return [
        f"Signed by the server's key {fingerprint}; compare it by telephone.",
        f"The server: {offered.invitation.address}",
    ]
