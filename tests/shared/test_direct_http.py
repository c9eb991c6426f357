"""Requests straight over sockets: whole, on kept connections, and with httpx's own errors."""

import http.server
import ssl
import threading
from pathlib import Path
from typing import ClassVar

import httpx
import pytest

from server.joining.certificates import make_certificates
from shared.address import Address
from shared.direct_http import DirectTransport, direct_client

LARGE = bytes(range(256)) * 20_000


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers with what it is sent; what is asked by another path is refused, or never answered."""

    protocol_version = "HTTP/1.1"
    came: ClassVar[list[tuple[str, int]]] = []
    hangs_up = False

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.came.append(self.client_address)
        if self.path == "/silence":
            threading.Event().wait(3.0)
        self.send_response(403 if self.path == "/refused" else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.hangs_up

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class EchoServer(http.server.ThreadingHTTPServer):
    """Counts the connections it has ended."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Echo)
        self.ended = threading.Semaphore(0)

    def shutdown_request(self, request) -> None:
        super().shutdown_request(request)
        self.ended.release()


@pytest.fixture
def echo(monkeypatch):
    """A server, and where it is."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Echo, "came", [])
    monkeypatch.setattr(Echo, "hangs_up", False)
    server = EchoServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def client(echo):
    with direct_client(f"http://127.0.0.1:{echo.server_port}", True, 10.0) as client:
        yield client


def test_megabytes_go_and_come_whole_on_one_connection(client, echo):
    for _ in range(3):
        answer = client.post(f"http://127.0.0.1:{echo.server_port}/x", content=LARGE)
        assert (answer.status_code, answer.content) == (200, LARGE)
    assert len(set(Echo.came)) == 1


def test_a_refusal_is_told_as_httpx_tells_it(client, echo):
    answer = client.post(f"http://127.0.0.1:{echo.server_port}/refused", content=b"why")
    with pytest.raises(httpx.HTTPStatusError, match="403"):
        answer.raise_for_status()
    assert answer.text == "why"


def test_a_connection_that_the_other_side_ended_is_not_used_again(client, echo, monkeypatch):
    url = f"http://127.0.0.1:{echo.server_port}/x"
    monkeypatch.setattr(Echo, "hangs_up", True)
    for _ in range(3):
        assert client.post(url, content=b"a").content == b"a"
        assert echo.ended.acquire(timeout=10.0)
    assert len(set(Echo.came)) == 3


def test_whoever_does_not_answer_in_time_is_late(client, echo):
    with pytest.raises(httpx.ReadTimeout):
        client.post(f"http://127.0.0.1:{echo.server_port}/silence", content=b"", timeout=0.2)


def test_where_nobody_listens_no_connection_is_made(echo):
    port = echo.server_port
    echo.shutdown()
    echo.server_close()
    with (
        direct_client(f"http://127.0.0.1:{port}", True, 1.0) as client,
        pytest.raises(httpx.ConnectError),
    ):
        client.post(f"http://127.0.0.1:{port}/x")


@pytest.fixture
def secured(echo, tmp_path):
    """The same with TLS; the folder of its authority's certificate."""
    made = make_certificates("s", Address("127.0.0.1", echo.server_port))
    for name in ("authority", "certificate", "key"):
        (tmp_path / name).write_bytes(getattr(made, name))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    echo.socket = context.wrap_socket(echo.socket, server_side=True)
    return tmp_path


def test_with_tls_the_server_must_prove_who_it_is(secured: Path, echo):
    url = f"https://127.0.0.1:{echo.server_port}"
    with direct_client(url, str(secured / "authority"), 10.0) as client:
        assert [client.post(url, content=LARGE).content for _ in range(3)] == [LARGE] * 3
        assert len(set(Echo.came)) == 1
    with direct_client(url, True, 10.0) as client, pytest.raises(httpx.ConnectError) as error:
        client.post(url, content=b"secret")
    assert "certificate" in str(error.value).lower()


def test_a_proxy_is_gone_through_as_ever(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://proxy.example.org:3128")
    monkeypatch.setenv("no_proxy", "localhost")
    with direct_client("https://fl.example.org:443", True, 1.0) as client:
        assert not isinstance(client._transport, DirectTransport)
    with direct_client("https://localhost:443", True, 1.0) as client:
        assert isinstance(client._transport, DirectTransport)
