"""TLS as Flower's client does it: one CA, and why a certificate is refused, in words."""

import ssl

EXPIRED, NOT_YET_VALID = 10, 9
WRONG_NAME = (62, 64)
UNKNOWN_CA = (7, 18, 19, 20, 21)
"""Codes of OpenSSL's verification (x509_vfy.h): there is no path to the CA that is known."""


def client_context(certificate: str) -> ssl.SSLContext:
    """What a client needs that trusts one CA, given as PEM, and no other.

    Raises:
        ssl.SSLError: If it is no certificate; ValueError if it is empty.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=certificate)
    return context


def why_refused(error: ssl.SSLCertVerificationError, host: str) -> str:
    """Why the certificate of a host was refused: expired, of another name, of another CA."""
    code = error.verify_code
    if code == EXPIRED:
        return "the server's certificate, or its CA's, has expired"
    if code == NOT_YET_VALID:
        return "the server's certificate is not valid yet; is this machine's clock right?"
    if code in WRONG_NAME:
        return f"the server's certificate is not for the name {host}"
    if code in UNKNOWN_CA:
        return "the server's certificate is not from the CA of the study"
    return f"the server's certificate is not accepted ({error.verify_message})"


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> None:
    """Let a server and a client that means `host` meet in memory.

    Raises:
        ssl.SSLCertVerificationError: If the client refuses the server's certificate.
    """
    upwards, downwards = ssl.MemoryBIO(), ssl.MemoryBIO()
    asks = client.wrap_bio(downwards, upwards, server_hostname=host)
    answers = server.wrap_bio(upwards, downwards, server_side=True)
    for _ in range(4):
        for side in (asks, answers):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
