"""The closed codes of what keeps a site's answer from the server, beside those that sites send."""

from shared.errors import CodecError, HandshakeError, ServiceError

ABSENT = "E_ABSENT"
TIMEOUT = "E_TIMEOUT"
UNREACHABLE = "E_UNREACHABLE"
STALLED = "E_STALLED"

IN_WORDS = {
    ABSENT: "no node is this site",
    TIMEOUT: "no answer within round_limit_s",
    UNREACHABLE: "Flower could not bring a letter there and back",
    STALLED: "offline, or no step further, for stall_limit_s",
    ServiceError.code: "the hospital's courier does not reach its site service",
    CodecError.code: "its reply is not of the form that the stage's contract gives it",
    HandshakeError.code: "it is not the site, or does not run the code, that the study expects",
}
"""What a code means, for a person; a code that is not here is one of the site's own."""


def told(code: str) -> str:
    """A code and what it means."""
    words = IN_WORDS.get(code, "the site's own log says why")
    return f"{code}: {words}"
