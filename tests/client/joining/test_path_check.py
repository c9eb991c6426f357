"""The way to the server: each place where it can end is told from the others."""

import http.server
import socket
import ssl
import threading
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from email.utils import formatdate

import pytest

from client.joining import path_check
from client.joining.path_check import check_path
from client.joining.settings import FederationSettings
from server.joining.certificates import make_certificates
from shared.address import Address, parse_address

MADE = make_certificates("tiny", parse_address("127.0.0.1:443"))


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("https_proxy", "http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


class Health(http.server.BaseHTTPRequestHandler):
    """Answers like the server, with a clock that may be wrong or absent."""

    date = None

    def do_GET(self):
        self.server.asked.append(self.requestline)
        self.send_response_only(200)
        if self.server.date:
            self.send_header("Date", self.server.date)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    """Forgets those who hang up."""

    asked: list
    date: str | None

    def handle_error(self, *_):
        pass


@pytest.fixture
def serve(tmp_path):
    """Start a server with certificates, or without TLS, and return its address."""
    with ExitStack() as stack:

        def start(made=MADE, *, date="now"):
            server = Server(("127.0.0.1", 0), Health)
            server.asked = start.asked
            server.date = formatdate(usegmt=True) if date == "now" else date
            if made is not None:
                (tmp_path / "chain").write_bytes(made.certificate + made.key)
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(tmp_path / "chain")
                server.socket = context.wrap_socket(
                    server.socket, server_side=True, do_handshake_on_connect=False
                )
            thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
            thread.start()
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            return Address("127.0.0.1", server.server_address[1])

        start.asked = []
        yield start


def go(address, *, made=MADE, limit_s=5.0, **options):
    settings = FederationSettings(
        version=1,
        site="site_a",
        role="training",
        address=str(address),
        study_hash="0" * 64,
        run="0" * 32,
        server_key="0" * 64,
    )
    return check_path(settings, made.authority.decode(), limit_s=limit_s, **options)


def end(findings):
    """The last finding's text, where it is the only one that is not fine."""
    assert [finding.fine for finding in findings] == [True] * (len(findings) - 1) + [False]
    return findings[-1].text


def test_a_good_way_is_fine_at_every_step(serve):
    address = serve()
    findings = go(address)
    assert all(finding.fine for finding in findings)
    assert [finding.text for finding in findings[:4]] == [
        "no proxy is named in the environment; the way is direct",
        "127.0.0.1: is 127.0.0.1",
        f"{address}: the port is open",
        f"{address}: TLS is fine, the certificate is the study's",
    ]
    assert findings[4].text.startswith("this machine's clock is ")
    assert serve.asked == ["GET /health HTTP/1.1"]


def test_a_name_that_nobody_knows_ends_it():
    findings = go("nobody.invalid:443")
    assert "nobody.invalid: no such name is known here" in end(findings)


def test_a_closed_port_is_told_from_silence():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = Address("127.0.0.1", unused.getsockname()[1])
        assert "nothing listens on the port" in end(go(address))


def test_silence_is_told_of_a_firewall(monkeypatch):
    def silent(*_, **__):
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", silent)
    said = end(go("127.0.0.1:443"))
    assert "no answer within 5 s" in said
    assert "let this machine out to 127.0.0.1:443 (TCP)" in said


def test_a_certificate_that_has_expired_is_told_from_others(serve):
    old = make_certificates(
        "tiny", parse_address("127.0.0.1:443"), now=datetime(2020, 1, 1, tzinfo=UTC)
    )
    assert "has expired" in end(go(serve(old), made=old))


def test_a_certificate_of_another_authority_is_told_of_inspection(serve):
    other = make_certificates("tiny", parse_address("127.0.0.1:443"))
    address = serve(other)
    said = end(go(address))
    assert "not from the CA of the study" in said
    assert f"(TLS inspection): ask your IT department to exempt {address}" in said


def test_a_certificate_for_another_name_is_told_from_others(serve, monkeypatch):
    elsewhere = make_certificates("tiny", parse_address("fl.example.org:443"))
    monkeypatch.setattr(socket, "getaddrinfo", found_here(socket.getaddrinfo))
    address = Address("other.example.org", serve(elsewhere).port)
    assert "not for the name other.example.org. Tell" in end(go(address, made=elsewhere))


def found_here(look_up):
    """A look-up by which every name is this machine's."""
    return lambda _, *rest, **options: look_up("127.0.0.1", *rest, **options)


def test_a_server_without_tls_is_told_of(serve):
    assert "no TLS there" in end(go(serve(None)))


def test_a_server_that_says_nothing_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = Address("127.0.0.1", mute.getsockname()[1])
        begin = time.monotonic()
        assert "no TLS there" in end(go(address, limit_s=0.3))
        assert time.monotonic() - begin < 5


@pytest.mark.parametrize(
    ("apart", "way"), [(6, "ahead of"), (4000, "ahead of"), (-302, "behind"), (-4000, "behind")]
)
def test_a_clock_too_far_off_ends_it(serve, apart, way):
    then = 1_800_000_000
    address = serve(date=formatdate(then, usegmt=True))
    said = end(go(address, now=lambda: then + 0.5 + apart))
    assert said.startswith(f"this machine's clock is {abs(apart)} s {way} the server's")
    assert "the server takes no request" in said


@pytest.mark.parametrize("apart", [-299, 0, 4])
def test_a_clock_that_is_right_or_somewhat_late_is_fine(serve, apart):
    then = 1_800_000_000
    address = serve(date=formatdate(then, usegmt=True))
    assert go(address, now=lambda: then + apart)[-1].fine


@pytest.mark.parametrize("date", [None, "soon"])
def test_a_server_that_tells_no_time_ends_nothing(serve, date):
    findings = go(serve(date=date))
    assert findings[-1].fine
    assert "tells no time" in findings[-1].text


def test_a_certificate_that_ends_soon_is_told_of(serve):
    address = serve()
    in_two_years = time.time() + 720 * 86400
    texts = [finding.text for finding in go(address, now=lambda: in_two_years)]
    assert any("it ends in 9 days: tell the coordinator" in text for text in texts)


@contextmanager
def proxy(status="200 OK", goal=None):
    """A proxy that answers every CONNECT with a status, and connects to `goal` if it may."""
    heads = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve_one():
            inside, _ = listener.accept()
            with inside:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += inside.recv(1)
                heads.append(head.decode())
                inside.sendall(f"HTTP/1.1 {status}\r\n\r\n".encode())
                if goal is not None:
                    with socket.create_connection((goal.host, goal.port)) as outside:
                        back = threading.Thread(target=pump, args=(outside, inside))
                        back.start()
                        pump(inside, outside)
                        back.join()

        thread = threading.Thread(target=serve_one, daemon=True)
        thread.start()
        yield Address("127.0.0.1", listener.getsockname()[1]), heads
        thread.join(5)


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def test_the_way_through_a_proxy_is_gone(serve, monkeypatch):
    address = serve()
    with proxy(goal=address) as (between, heads):
        monkeypatch.setenv("HTTPS_PROXY", f"http://ward:s3cret@{between}")
        findings = go(address)
    assert all(finding.fine for finding in findings)
    assert f"the proxy {between} lets {address} through" in [f.text for f in findings]
    assert heads[0].startswith(f"CONNECT {address} HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic d2FyZDpzM2NyZXQ=\r\n" in heads[0]
    assert "HTTPS_PROXY: the way to" in findings[0].text
    assert not any("s3cret" in finding.text for finding in findings)


@pytest.mark.parametrize(
    ("status", "words"),
    [("403 Forbidden", "status 403. Ask"), ("407 Who", "status 407 (it wants a user name and")],
)
def test_a_proxy_that_refuses_is_told_of(monkeypatch, status, words):
    with proxy(status) as (between, _):
        monkeypatch.setenv("https_proxy", f"http://{between}")
        said = end(go("fl.example.org:443"))
    assert f"the proxy {between}: does not let fl.example.org:443 through" in said
    assert words in said


def test_what_is_no_proxy_is_told_of(monkeypatch):
    with proxy("") as (between, _):
        monkeypatch.setenv("https_proxy", f"http://{between}")
        assert "does not answer as a proxy does" in end(go("fl.example.org:443"))


@pytest.mark.parametrize("scheme", ["socks5", "https"])
def test_a_proxy_that_cannot_be_tried_is_said_to_be(monkeypatch, scheme):
    monkeypatch.setenv("all_proxy", f"{scheme}://127.0.0.1:1080")
    assert f"is spoken to by {scheme}" in end(go("fl.example.org:443"))


def test_a_server_named_in_no_proxy_is_reached_directly(serve, monkeypatch):
    address = serve()
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    findings = go(address)
    assert all(finding.fine for finding in findings)
    assert f"set, but not for {address}; the way is direct" in findings[0].text


def test_the_limits_are_within_what_flower_allows():
    from flwr.superlink.routers.fleet import node_auth

    behind = node_auth.TIMESTAMP_TOLERANCE + node_auth.SYSTEM_TIME_TOLERANCE
    assert behind - 10 < path_check.MOST_BEHIND_S < behind
    assert path_check.MOST_AHEAD_S == node_auth.SYSTEM_TIME_TOLERANCE
