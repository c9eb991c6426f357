"""The proxy that the environment names, as Flower's client (httpx) takes it."""

import os
import urllib.parse
import urllib.request
from dataclasses import dataclass

from shared.address import Address

VARIABLES = ("https_proxy", "all_proxy", "no_proxy")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, how it is spoken to (http, https, socks5), and its 'user:password' if it has any."""

    address: Address
    scheme: str
    user: str


def proxy_for(address: Address) -> Proxy | None:
    """The proxy for an address; None if the way is direct, or the variable names no host."""
    named = urllib.request.getproxies()
    url = named.get("https") or named.get("all")
    if not url or urllib.request.proxy_bypass(f"{address.host}:{address.port}"):
        return None
    try:
        parts = urllib.parse.urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if host is None:
        return None
    user = urllib.parse.unquote(parts.netloc.rpartition("@")[0])
    return Proxy(Address(host, port or 80), parts.scheme, user)


def said(address: Address, proxy: Proxy | None) -> str:
    """What the environment says of proxies; never a password."""
    both = (name for variable in VARIABLES for name in (variable, variable.upper()))
    names = ", ".join(name for name in both if os.environ.get(name))
    if proxy is not None:
        return f"{names or 'system settings'}: the way to {address} is by proxy {proxy.address}"
    if names:
        return f"{names}: set, but not for {address}; the way is direct"
    return "no proxy is named in the environment; the way is direct"
