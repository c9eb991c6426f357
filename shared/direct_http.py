"""HTTP straight on the standard library: what comes in megabytes is read into its place at once.

Flower's client reads an answer in pieces of at most 16 kB, the size of a TLS record, and each costs
it as much as a small request. Here the pieces of an answer go where the answer will lie.
"""

import http.client
import select
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import getproxies, proxy_bypass

import httpx

Connection = http.client.HTTPConnection


class DirectTransport(httpx.BaseTransport):
    """Carries the requests of an `httpx.Client`, each on a connection that is kept for the next.

    Args:
        tls: How the server proves who it is; None: it need not, and nothing is encrypted.
    """

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        self._idle: list[Connection] = []
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read its whole answer.

        Raises:
            httpx.TransportError: If the line fails, of the class that httpx has for it.
        """
        limits = request.extensions.get("timeout", {})
        connection = self._kept() or self._new(request.url, limits.get("connect"))
        try:
            with said_as(httpx.WriteTimeout, httpx.WriteError):
                connection.sock.settimeout(limits.get("write"))
                target, headers = request.url.raw_path.decode("ascii"), dict(request.headers)
                connection.request(request.method, target, request.read(), headers)
            with said_as(httpx.ReadTimeout, httpx.ReadError):
                connection.sock.settimeout(limits.get("read"))
                answer = connection.getresponse()
                content = answer.read()
        except BaseException:
            connection.close()
            raise
        if answer.will_close:
            connection.close()
        else:
            with self._lock:
                self._idle.append(connection)
        return httpx.Response(answer.status, headers=answer.getheaders(), content=content)

    def close(self) -> None:
        """End the connections that are kept."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def _kept(self) -> Connection | None:
        """A connection that nothing has come on since its last answer, as that is its end."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            looks = select.poll()
            looks.register(connection.sock, select.POLLIN)
            if not looks.poll(0):
                return connection
            connection.close()

    def _new(self, url: httpx.URL, within_s: float | None) -> Connection:
        port = url.port or (443 if self._tls else 80)
        connection = (
            Connection(url.host, port, timeout=within_s)
            if self._tls is None
            else http.client.HTTPSConnection(url.host, port, timeout=within_s, context=self._tls)
        )
        with said_as(httpx.ConnectTimeout, httpx.ConnectError):
            connection.connect()
        return connection


def direct_client(url: str, verify: ssl.SSLContext | str | bool, timeout: float) -> httpx.Client:
    """A client for requests to one server; by the usual way where a proxy stands before it.

    Args:
        url: Where the server is.
        verify: As `httpx.Client` takes it.
        timeout: Of each step of a request, in seconds.
    """
    parsed = httpx.URL(url)
    proxies = getproxies()
    proxied = proxies.get(parsed.scheme) or proxies.get("all")
    if proxied and not proxy_bypass(parsed.netloc.decode("ascii")):
        return httpx.Client(verify=verify, timeout=timeout, follow_redirects=True)
    tls: ssl.SSLContext | None = None
    if isinstance(verify, ssl.SSLContext):
        tls = verify
    elif parsed.scheme == "https":
        tls = ssl.create_default_context(cafile=verify if isinstance(verify, str) else None)
    return httpx.Client(transport=DirectTransport(tls), timeout=timeout, follow_redirects=True)


@contextmanager
def said_as(late: type[httpx.TimeoutException], broken: type[httpx.NetworkError]) -> Iterator[None]:
    """Let errors of the standard library be httpx's."""
    try:
        yield
    except TimeoutError as error:
        raise late(str(error)) from error
    except OSError as error:
        raise broken(str(error)) from error
    except http.client.HTTPException as error:
        raise httpx.RemoteProtocolError(str(error) or type(error).__name__) from error
