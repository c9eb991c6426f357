"""Where a server is reached: HOST:PORT, the host a name or an IP address."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

_NAME = re.compile(
    r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?"
)
_PORT = re.compile(r"[1-9][0-9]{0,4}")
MUST_BE = "must be HOST:PORT, for example fl.example.org:443, 192.0.2.7:443 or [2001:db8::7]:443"


@dataclass(frozen=True, slots=True)
class Address:
    """A host, without the brackets of an IPv6 address, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The host as an IP address; None if it is a name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    @property
    def is_this_machine(self) -> bool:
        """Whether only programs of the same machine reach it."""
        return self.host == "localhost" or (self.ip is not None and self.ip.is_loopback)


def parse_address(text: str) -> Address:
    """An address from its text; letters of a name are made small.

    Raises:
        ValueError: If it is none; the text says what one looks like.
    """
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    address = Address(host.strip("[]").lower() if bracketed else host.lower(), 0)
    is_host = (
        isinstance(address.ip, ipaddress.IPv6Address) and "%" not in address.host
        if bracketed
        else isinstance(address.ip, ipaddress.IPv4Address) or _NAME.fullmatch(address.host)
    )
    if not is_host or not _PORT.fullmatch(port) or int(port) > 65535:
        raise ValueError(MUST_BE)
    return Address(address.host, int(port))


def _checked(text: str) -> str:
    return str(parse_address(text))


AddressText = Annotated[str, AfterValidator(_checked)]
"""A setting that is an address; see `parse_address`."""
