"""A certificate for the server's own machine, beside the one that hospitals see.

The study's own processes reach the SuperLink as `localhost`, which no certificate of a hospital's
or a public authority is for. So the SuperLink has a second one, made anew at each start, and shows
it to whoever asks for that name.
"""

import ssl
from pathlib import Path

from server.joining.certificates import make_certificates
from shared.address import Address
from shared.files import write_atomically
from shared.secret_files import write_secret

NAME = "localhost"


def make_local_certificate(authority: Path, certificate: Path, key: Path) -> None:
    """Write a new certificate for this machine's own name of itself, and what signed it."""
    made = make_certificates(NAME, Address(NAME, 1))
    write_atomically(authority, made.authority)
    write_atomically(certificate, made.certificate)
    write_secret(key, made.key)


def also_local(context: ssl.SSLContext, certificate: Path, key: Path) -> ssl.SSLContext:
    """A server's TLS that shows another certificate to whoever asks for `localhost`."""
    local = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    local.load_cert_chain(certificate, key)

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name == NAME:
            connection.context = local

    context.sni_callback = choose
    return context
