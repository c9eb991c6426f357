"""Can this hospital reach the server? Each step of the way, and what to ask of whom where it ends.

A connection goes the way that Flower's goes: through the proxy that the environment names, and
trusting the study's CA alone. Nothing is told to the server but a request for its `/health`.
"""

import base64
import http.client
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from client.joining.proxy import Proxy, proxy_for, said
from client.joining.settings import FederationSettings
from shared.address import Address
from shared.tls import UNKNOWN_CA, client_context, why_refused

LIMIT_S = 10.0
MOST_BEHIND_S, MOST_AHEAD_S = 300, 5
"""How far a hospital's clock may be off. Flower signs each request with the time, and the server
takes a request that is older than that, or from the future by more than that, for a forged one."""
HALF_A_SECOND = timedelta(seconds=0.5)
"""What an HTTP date, which has whole seconds, leaves off on average."""
SOON = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Finding:
    """One step of the way: whether it is fine, and in words what was found and what to do."""

    fine: bool
    text: str


class _Stop(Exception):  # noqa: N818
    """The way ends here; the text says why."""


def check_path(
    settings: FederationSettings,
    certificate: str,
    *,
    limit_s: float = LIMIT_S,
    now: Callable[[], float] = time.time,
) -> list[Finding]:
    """Go the way to the server, as far as it goes; the last finding says why it ends.

    Args:
        certificate: The study's CA, PEM.
        limit_s: For each step, in seconds.
        now: This machine's clock, in seconds since 1970.
    """
    address = settings.reached_at
    proxy = proxy_for(address)
    findings = [Finding(True, said(address, proxy))]
    try:
        goal = address if proxy is None else _usable(proxy)
        findings.append(_resolved(goal))
        with _connected(goal, limit_s) as plain:
            findings.append(Finding(True, f"{goal}: the port is open"))
            if proxy is not None:
                _ask_proxy(plain, address, proxy)
                findings.append(Finding(True, f"the proxy {goal} lets {address} through"))
            with _secured(plain, certificate, address, through=proxy is not None) as secure:
                findings += _certificate(secure, address, now())
                findings.append(_clock(secure, address, now))
    except _Stop as stop:
        findings.append(Finding(False, str(stop)))
    return findings


def _usable(proxy: Proxy) -> Address:
    if proxy.scheme != "http":
        raise _Stop(
            f"the proxy {proxy.address}: is spoken to by {proxy.scheme}, which cannot be tried "
            "here. Name an http:// proxy in https_proxy, or ask your IT department for one."
        )
    return proxy.address


def _resolved(goal: Address) -> Finding:
    try:
        found = socket.getaddrinfo(goal.host, goal.port, type=socket.SOCK_STREAM)
    except OSError:
        raise _Stop(
            f"{goal.host}: no such name is known here. Is the address right? If so, ask your IT "
            "department to let this machine look the name up."
        ) from None
    ips = dict.fromkeys(str(entry[4][0]) for entry in found)
    return Finding(True, f"{goal.host}: is {', '.join(ips)}")


def _connected(goal: Address, limit_s: float) -> socket.socket:
    try:
        return socket.create_connection((goal.host, goal.port), timeout=limit_s)
    except TimeoutError:
        raise _Stop(
            f"{goal}: no answer within {limit_s:g} s. A firewall may swallow it: ask your IT "
            f"department to let this machine out to {goal} (TCP)."
        ) from None
    except ConnectionRefusedError:
        raise _Stop(
            f"{goal}: the machine is there, but nothing listens on the port, or a firewall "
            "refuses it. Ask the coordinator whether the server runs."
        ) from None
    except OSError as error:
        raise _Stop(
            f"{goal}: cannot be reached ({error.strerror}). Ask your IT department for a way out."
        ) from None


def _ask_proxy(plain: socket.socket, address: Address, proxy: Proxy) -> None:
    """Ask the proxy for a tunnel to the server."""
    head = f"CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n"
    if proxy.user:
        token = base64.b64encode(proxy.user.encode()).decode()
        head += f"Proxy-Authorization: Basic {token}\r\n"
    try:
        plain.sendall(f"{head}\r\n".encode())
        status = _status(plain)
    except (OSError, http.client.HTTPException):
        raise _Stop(f"the proxy {proxy.address}: does not answer as a proxy does.") from None
    if status != 200:
        why = " (it wants a user name and password)" if status == 407 else ""
        raise _Stop(
            f"the proxy {proxy.address}: does not let {address} through, status {status}{why}. Ask "
            "your IT department to allow it, or to name the server in no_proxy."
        )


def _status(plain: socket.socket) -> int:
    """The status of an answer without a body, reading no byte beyond its head."""
    head = b""
    while not head.endswith(b"\r\n\r\n") and len(head) < 16_384:
        if not (byte := plain.recv(1)):
            break
        head += byte
    words = head.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise http.client.BadStatusLine("")
    return int(words[1])


def _secured(
    plain: socket.socket, certificate: str, address: Address, *, through: bool
) -> ssl.SSLSocket:
    try:
        return client_context(certificate).wrap_socket(plain, server_hostname=address.host)
    except ssl.SSLCertVerificationError as error:
        advice = "Tell the coordinator."
        if error.verify_code in UNKNOWN_CA:
            advice = (
                "Something between may open the connection and read along (TLS inspection): ask "
                f"your IT department to exempt {address}. Or the server has a new CA: ask the "
                "coordinator for a new invitation."
            )
        raise _Stop(f"{address}: {why_refused(error, address.host)}. {advice}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or "the connection broke off"
        between = "the proxy" if through else "a firewall"
        raise _Stop(
            f"{address}: no TLS there ({reason}). Is the port the server's? If so, ask your IT "
            f"department whether {between} stops it."
        ) from None


def _certificate(secure: ssl.SSLSocket, address: Address, now_s: float) -> list[Finding]:
    """That the certificate was accepted, and a word if it will not be for long."""
    end = str((secure.getpeercert() or {}).get("notAfter", ""))
    left = timedelta(seconds=ssl.cert_time_to_seconds(end) - now_s) if end else SOON
    text = f"{address}: TLS is fine, the certificate is the study's"
    if left < SOON:
        text += f"; it ends in {left.days} days: tell the coordinator"
    return [Finding(True, text)]


def _clock(secure: ssl.SSLSocket, address: Address, now: Callable[[], float]) -> Finding:
    """How far this machine's clock is from the server's."""
    begun = now()
    try:
        request = f"GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        secure.sendall(request.encode())
        answer = http.client.HTTPResponse(secure)
        answer.begin()
        there = parsedate_to_datetime(answer.headers.get("Date", ""))
    except (OSError, http.client.HTTPException):
        raise _Stop(f"{address}: speaks TLS, but not HTTP. Tell the coordinator.") from None
    except (ValueError, TypeError):
        return Finding(True, f"{address}: tells no time; keep this machine's clock right by NTP")
    here = datetime.fromtimestamp((begun + now()) / 2, UTC)
    there = (there if there.tzinfo else there.replace(tzinfo=UTC)) + HALF_A_SECOND
    ahead = (here - there).total_seconds()
    way = "ahead of" if ahead > 0 else "behind"
    allowed = f"{MOST_BEHIND_S} s behind and {MOST_AHEAD_S} s ahead are allowed"
    found = f"this machine's clock is {abs(ahead):.0f} s {way} the server's; {allowed}"
    if -MOST_BEHIND_S <= ahead <= MOST_AHEAD_S:
        return Finding(True, found)
    return Finding(
        False,
        f"{found}, and the server takes no request. Set it right by NTP; or the server's, if this "
        "one is right.",
    )
