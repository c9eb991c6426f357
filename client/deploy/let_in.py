"""Why the server does not let a hospital's SuperNode in, in words for whoever reads its log.

Flower says a number and a class. The words name what a hospital or its coordinator can do.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

CHECK = "'trifed site check SITE.yaml --network' tells more."
WORDS = {
    401: "the server takes this site's requests for forged ones. Is this machine's clock right "
    f"(NTP), and federation/node.key the file that joining made? {CHECK}",
    403: "what stands before the server refuses this site's requests; ask the coordinator whether "
    "its proxy lets /v1/fleet/ through.",
    412: "the server does not know the key in federation/node.key, or still counts an earlier "
    "visit with it as online. Ask the coordinator whether this site's answer was accepted (trifed "
    "server sites), and make sure that no other machine runs with this key.",
}
"""By the status of the server's answer; Flower takes 401 for what is signed wrongly, and 412 for
a key that is not registered or cannot come online now."""
CERTIFICATE = f"the server's certificate is not accepted. {CHECK}"
log = logging.getLogger("flwr")


@contextmanager
def told_why() -> Iterator[None]:
    """Log in words why a site could not come online; the error goes on as it was."""
    try:
        yield
    except httpx.HTTPStatusError as error:
        if (words := WORDS.get(error.response.status_code)) is not None:
            log.error("%s", words)
        raise
    except httpx.ConnectError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            log.error("%s", CERTIFICATE)
        raise
