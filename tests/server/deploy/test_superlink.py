"""The gate stands where Flower's own place for such things is; a new Flower is told of in words."""

import ast
import inspect
from pathlib import Path

import flwr
import pytest
import uvicorn
from flwr.superlink import extensions, main
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from server.deploy import superlink as superlink_module
from server.deploy.gate import HEADER, Gate, control_word
from server.deploy.superlink import place_certificate, place_gate

MOVED = f"flwr {flwr.__version__} moved this: server/deploy/superlink.py must follow it"
WORD = control_word(b"secret")


@pytest.fixture
def superlink(monkeypatch):
    """Flower's SuperLink as an application, its state in memory, seen from another machine."""
    monkeypatch.setattr(extensions, "get_middleware", extensions.get_middleware)
    place_gate(WORD)
    return TestClient(main.create_app(), client=("192.0.2.7", 1), raise_server_exceptions=False)


def test_flower_asks_for_others_middleware_by_this_name_and_puts_it_first():
    tree = ast.parse(inspect.getsource(main._get_middleware))
    (found,) = [node for node in ast.walk(tree) if isinstance(node, ast.List)]
    assert ast.unparse(found.elts[0]) == "*extensions.get_middleware()", MOVED
    place = main._get_middleware()
    assert all(isinstance(one, Middleware) for one in place)


def test_the_gate_is_the_outermost(monkeypatch):
    monkeypatch.setattr(extensions, "get_middleware", extensions.get_middleware)
    place_gate(WORD)
    assert main._get_middleware()[0].cls is Gate, MOVED


def test_uvicorn_makes_its_tls_by_this_name(monkeypatch):
    made = []
    monkeypatch.setattr(uvicorn.config, "create_ssl_context", lambda **_: made.append(1))
    monkeypatch.setattr(superlink_module, "also_local", lambda *_: "both")
    place_certificate(Path("local.crt"), Path("local.key"))
    config = uvicorn.Config("app", ssl_certfile="a", ssl_keyfile="b", http="h11", lifespan="off")
    monkeypatch.setattr(config, "app", lambda: None)
    config.load()
    assert (made, config.ssl) == ([1], "both"), MOVED


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/v1/runtime/pull-messages"])
def test_the_real_superlink_shows_nothing_but_what_hospitals_need(superlink, path):
    assert superlink.get(path).status_code == 403
    assert superlink.post(path).status_code == 403


def test_the_real_superlink_takes_no_run_without_the_word(superlink):
    path = "/v1/control/list-runs"
    assert superlink.post(path).status_code == 403
    assert superlink.post(path, headers={HEADER: WORD}).status_code != 403


def test_the_real_superlink_hears_hospitals(superlink):
    assert superlink.get("/health").status_code == 200
    assert superlink.post("/v1/fleet/pull-messages").status_code not in (403, 404)


def test_every_path_of_flower_is_one_that_the_gate_knows():
    paths = {route.path for route in main.create_app().routes if hasattr(route, "path")}
    roots = {"/".join(path.split("/")[:3]) for path in paths if path.startswith("/v1/")}
    assert roots <= {"/v1/fleet", "/v1/control", "/v1/runtime"}, MOVED
