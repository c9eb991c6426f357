"""Flower's SuperLink as this product runs it: behind the gate, and never without its supervisor.

Run as a module by `trifed server start`; the arguments are those of `flower-superlink`.
"""

import gc
import os
import ssl
from pathlib import Path
from typing import Any

import uvicorn.config
from flwr.superlink import extensions
from flwr.superlink.cli import flower_superlink
from starlette.middleware import Middleware

from server.deploy.gate import Gate, control_word
from server.deploy.link_state import place_state
from server.deploy.local_tls import also_local
from server.deploy.objects import place_objects
from server.deploy.programs import CERTIFICATE, KEY, SECRET
from server.deploy.short_way import ShortWay
from shared.supervision import end_with_parent


def place_gate(word: str) -> None:
    """Put the gate and the short way where Flower lets others stand before its layers."""
    before = (Middleware(Gate, word=word), Middleware(ShortWay))
    extensions.get_middleware = lambda: before


def place_certificate(certificate: Path, key: Path) -> None:
    """Let the server of Flower's choice show this machine a certificate of its own."""
    make = uvicorn.config.create_ssl_context

    def make_both(*arguments: Any, **named: Any) -> ssl.SSLContext:
        return also_local(make(*arguments, **named), certificate, key)

    uvicorn.config.create_ssl_context = make_both


def main() -> None:
    """Serve behind the gate."""
    end_with_parent()
    place_certificate(Path(os.environ[CERTIFICATE]), Path(os.environ[KEY]))
    place_objects()
    place_state()
    place_gate(control_word(Path(os.environ[SECRET]).read_bytes()))
    gc.freeze()  # what is loaded stays, and is not looked through again and again
    flower_superlink()


if __name__ == "__main__":
    main()
