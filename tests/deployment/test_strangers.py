"""Who is not let in, line by line, and in which words: other releases, keys, certificates, clocks.

The SuperLink is Flower's own, in this process and behind the product's gate, and what a hospital
sends is signed by the product's client; TLS is that of a real socket. No study is touched: nobody
who is refused comes online, and no question is asked.
"""

import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.proto.control_pb2 import ListNodesRequest
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PullMessagesRequest, RegisterNodeFleetRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME
from flwr.supercore.date import now
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.superlink import extensions, main
from flwr.superlink.config_loader import SuperLinkLifespanConfig, load_control_authn_plugin
from flwr.supernode import node_auth_http_interceptor
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
from starlette.testclient import TestClient

import trifed
from client.deploy.place import Place
from client.deploy.programs import courier_programs
from client.deploy.supernode import PatientClient
from client.stages import hello as site_hello
from server.deploy.control import Control
from server.deploy.gate import control_word
from server.deploy.place import Place as ServerPlace
from server.deploy.programs import programs
from server.deploy.superlink import place_gate
from server.joining.certificates import make_certificates
from server.stages import hello
from server.study import Study
from shared.address import Address, parse_address
from shared.errors import FederationError, HandshakeError
from shared.identity import versions
from tests.client.joining.test_path_check import end, go, serve  # noqa: F401
from tests.deployment.courier_world import SITES, said_by_the_server
from tests.site_policies import made_policy

SECRET = b"secret"
DAY_S = 86_400
HERE = parse_address("127.0.0.1:443")


def greeting(world, site):
    """A site's half of the handshake, as the product has it."""
    own = {"settings": SimpleNamespace(synthetic=True), "policy": made_policy()}
    about = SimpleNamespace(name=site, role="training", **own)
    bench = SimpleNamespace(site=about, study=world.settings)
    return lambda request: site_hello.answer(request, bench)


OLDER = {
    "of trifed's code": ({"code_hash": "0" * 64}, "the server runs other code of trifed"),
    "of the study": ({"study_hash": "0" * 64}, "the server's study file is not this site's"),
    "of Flower": (
        {"versions": versions() | {"flwr": "1.39.0"}},
        f"libraries differ from the server's: flwr 1.39.0 there, {versions()['flwr']} here",
    ),
}


@pytest.mark.parametrize("what", OLDER)
@pytest.mark.parametrize("looks", [True, False], ids=["which the site sees", "which it does not"])
def test_a_site_with_another_version_takes_no_part(world, caplog, what, looks):
    changes, words = OLDER[what]
    for site in SITES:
        world.training[site].hello = greeting(world, site)
    honest = world.training["site_b"].hello
    if looks:
        world.training["site_b"].hello = lambda request: honest(replace(request, **changes))
    else:
        world.training["site_b"].hello = lambda request: replace(honest(request), **changes)
    error, said = (
        (FederationError, "hello failed at site_b: E_HANDSHAKE")
        if looks
        else (
            HandshakeError,
            {
                "code_hash": "site_b runs other code of trifed; install the same release.",
                "study_hash": "site_b has another study file; compare the two files.",
                "versions": "site_b has other libraries: flwr 1.39.0 there",
            }[next(iter(changes))],
        )
    )
    with pytest.raises(error, match=said):
        hello.run(Study(), world.coordinator())
    assert world.kept() == {}
    if looks:
        assert words in caplog.text
        assert "or does not run the code, that the study expects" in said_by_the_server(caplog)


class NoGrpc:
    """In the place of what Flower's application starts beside itself."""

    def __init__(self, *_):
        pass

    def startup(self):
        pass

    def shutdown(self):
        pass


class SuperLink:
    """Flower's SuperLink with keys, behind the gate, with the sites that the coordinator let in."""

    def __init__(self, authority, keys):
        off: dict[str, object] = dict.fromkeys(SuperLinkLifespanConfig.__dataclass_fields__)
        on = {
            "database": FLWR_IN_MEMORY_DB_NAME,
            "enable_supernode_auth": True,
            "simulation": False,
            "authn_plugin": load_control_authn_plugin(),
        }
        self._app = main.create_app(SuperLinkLifespanConfig(**off | on), NoGrpc)
        self.control = Control("localhost:1", ca_file=authority, secret=SECRET)
        self.connect(self.control._client, "127.0.0.1")
        shown = {site: public_key_to_bytes(key.public_key()) for site, key in keys.items()}
        self.control.register(shown)

    def connect(self, client, host):
        """Let a client of Flower's reach the application from a host."""
        client._client = TestClient(
            self._app,
            client=(host, 1),
            raise_server_exceptions=False,
            base_url="https://localhost:1",
        )
        return client

    def nodes(self):
        """The sites by name, as the coordinator sees them."""
        found = self.control._ask("ListNodes", ListNodesRequest()).nodes_info
        return {node.name: node for node in found}

    def online(self):
        """Who is there."""
        return sorted(name for name, node in self.nodes().items() if node.status == "online")


@pytest.fixture
def superlink(tmp_path, monkeypatch):
    """A SuperLink that knows two sites, and their keys."""
    monkeypatch.setattr(extensions, "get_middleware", extensions.get_middleware)
    monkeypatch.setenv("FLWR_HOME", str(tmp_path))
    place_gate(control_word(SECRET))
    (tmp_path / "ca.crt").write_bytes(make_certificates("tiny", HERE).authority)
    keys = {site: ec.generate_private_key(ec.SECP384R1()) for site in ("site_a", "site_b")}
    link = SuperLink(tmp_path / "ca.crt", keys)
    link.keys = keys
    return link


def hospital(superlink, key, *, shows=None, signs=True):
    """What a hospital's SuperNode sends with, and the key that it shows."""
    shows = (shows or key).public_key()
    client = PatientClient.from_server_address(
        "localhost:1",
        insecure=False,
        root_certificates=None,
        interceptors=[NodeAuthHttpInterceptor(key, shows)] if signs else [],
    )
    return superlink.connect(client, "192.0.2.7"), public_key_to_bytes(shows)


def comes(superlink, key, **how):
    """A hospital wants to come online."""
    client, shows = hospital(superlink, key, **how)
    return client.ActivateNode(ActivateNodeRequest(public_key=shows))


def a_key_of_nobody(superlink, _):
    comes(superlink, ec.generate_private_key(ec.SECP384R1()))


def the_public_key_of_another(superlink, _):
    comes(superlink, superlink.keys["site_a"], shows=superlink.keys["site_b"])


def the_number_of_another(superlink, _):
    client, _ = hospital(superlink, superlink.keys["site_a"])
    node = Node(node_id=superlink.nodes()["site_b"].node_id)
    client.PullMessages(PullMessagesRequest(node=node))


def no_signature(superlink, _):
    comes(superlink, superlink.keys["site_a"], signs=False)


def its_own_registration(superlink, _):
    key = ec.generate_private_key(ec.SECP384R1())
    client, shows = hospital(superlink, key)
    client.RegisterNode(RegisterNodeFleetRequest(public_key=shows))


def a_clock_off_by(days):
    def strike(superlink, monkeypatch):
        then = now() + timedelta(days=days)
        with monkeypatch.context() as clock:
            clock.setattr(node_auth_http_interceptor, "now", lambda: then)
            comes(superlink, superlink.keys["site_a"])

    return strike


FORGED = (401, "Invalid SuperNode authentication", "takes this site's requests for forged ones")
UNKNOWN = (412, '"code":2004', "the server does not know the key in federation/node.key")
NOT_ASKED = (401, FORGED[1], "")
SELF_MADE = (412, '"code":2001', "")
STRANGERS = {
    "a key that is not registered": (a_key_of_nobody, UNKNOWN),
    "the public key of another site": (the_public_key_of_another, FORGED),
    "the place of another site": (the_number_of_another, NOT_ASKED),
    "no signature": (no_signature, FORGED),
    "registering oneself": (its_own_registration, SELF_MADE),
    "a clock a day ahead": (a_clock_off_by(1), FORGED),
    "a clock a day behind": (a_clock_off_by(-1), FORGED),
}


@pytest.mark.parametrize("what", STRANGERS)
def test_the_superlink_lets_no_stranger_in(superlink, monkeypatch, caplog, what):
    strike, (status, words, told) = STRANGERS[what]
    with pytest.raises(httpx.HTTPStatusError) as refused:
        strike(superlink, monkeypatch)
    assert refused.value.response.status_code == status
    assert words in refused.value.response.text
    assert told in caplog.text
    assert superlink.online() == []
    comes(superlink, superlink.keys["site_b"])
    assert superlink.online() == ["site_b"]


EXPIRED = make_certificates("tiny", HERE, now=datetime(2020, 1, 1, tzinfo=UTC))
OTHER = make_certificates("tiny", HERE)
TLS = {
    "a wrong CA": (OTHER, None, {}, "the server's certificate is not from the CA of the study"),
    "an expired certificate": (EXPIRED, EXPIRED, {}, "certificate, or its CA's, has expired"),
    "no TLS at all": (None, OTHER, {}, "no TLS there"),
    "a clock a day ahead": (OTHER, OTHER, {"now": lambda: time.time() + DAY_S}, "s ahead of the"),
    "a clock a day behind": (OTHER, OTHER, {"now": lambda: time.time() - DAY_S}, "s behind the"),
}


@pytest.mark.parametrize("what", TLS)
def test_the_way_to_the_server_ends_where_it_is_wrong_and_says_why(serve, what):  # noqa: F811
    shows, trusts, options, words = TLS[what]
    address = serve(shows)
    said = end(go(address, **options) if trusts is None else go(address, made=trusts, **options))
    assert words in said
    if "clock" in what:
        assert re.match(
            r"this machine's clock is 86[34]\d\d s (ahead of|behind) the server's", said
        )
        assert said.endswith("Set it right by NTP; or the server's, if this one is right.")


@pytest.mark.parametrize(
    "line",
    [
        ["site", "start", "site.yaml", "--insecure"],
        ["server", "start", "server", "--insecure"],
        ["server", "init", "my.yaml", "--out", "x", "--address", "a.org:443", "--insecure"],
    ],
    ids=lambda line: " ".join(line[:2]),
)
def test_nobody_can_ask_for_a_line_without_tls(line, capsys):
    with pytest.raises(SystemExit) as refused:
        trifed.main(line)
    assert refused.value.code == 2
    assert "unrecognized arguments: --insecure" in capsys.readouterr().err


def test_what_is_insecure_stays_on_loopback_whatever_the_addresses_are(tmp_path):
    site = Place(tmp_path / "site.yaml", "fl.example.org:443", tmp_path / "s")
    server = ServerPlace(tmp_path, Address("0.0.0.0", 443))
    for program in [*courier_programs(site, 9100), *programs(server)]:
        if "--insecure" in program.command:
            where = program.command[program.command.index("--runtime-api-address") + 1]
            assert where == "127.0.0.1:9100"
        elif "--superlink" in program.command or "--host" in program.command:
            assert {"--root-certificates", "--ssl-certfile"} & set(program.command)
