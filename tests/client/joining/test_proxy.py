"""Which proxy the environment names for the server."""

import pytest

from client.joining.proxy import Proxy, proxy_for, said
from shared.address import Address

SERVER = Address("fl.example.org", 443)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("https_proxy", "http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://proxy.example.org:3128", Proxy(Address("proxy.example.org", 3128), "http", "")),
        ("proxy.example.org:3128", Proxy(Address("proxy.example.org", 3128), "http", "")),
        ("http://proxy.example.org", Proxy(Address("proxy.example.org", 80), "http", "")),
        ("socks5://192.0.2.7:1080", Proxy(Address("192.0.2.7", 1080), "socks5", "")),
        ("http://a:b%40c@192.0.2.7:1", Proxy(Address("192.0.2.7", 1), "http", "a:b@c")),
        ("http://192.0.2.7:port", None),
        ("http://", None),
    ],
)
def test_a_proxy_is_read_from_its_url(monkeypatch, url, proxy):
    monkeypatch.setenv("https_proxy", url)
    assert proxy_for(SERVER) == proxy


def test_a_proxy_for_http_alone_is_none_of_ours(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://192.0.2.7:1")
    assert proxy_for(SERVER) is None
    assert said(SERVER, None) == "no proxy is named in the environment; the way is direct"


@pytest.mark.parametrize("names", ["fl.example.org", ".example.org", "*"])
def test_no_proxy_leads_past_it(monkeypatch, names):
    monkeypatch.setenv("all_proxy", "http://192.0.2.7:1")
    assert proxy_for(SERVER) is not None
    monkeypatch.setenv("no_proxy", names)
    assert proxy_for(SERVER) is None


def test_a_password_is_never_said(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://ward:s3cret@192.0.2.7:1")
    text = said(SERVER, proxy_for(SERVER))
    assert text == "https_proxy: the way to fl.example.org:443 is by proxy 192.0.2.7:1"
