"""HOST:PORT: what is taken, and what is refused."""

import pytest

from shared.address import Address, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("fl.example.org:443", Address("fl.example.org", 443)),
        ("FL.Example.org:65535", Address("fl.example.org", 65535)),
        ("localhost:1", Address("localhost", 1)),
        ("192.0.2.7:8443", Address("192.0.2.7", 8443)),
        ("[2001:DB8::7]:443", Address("2001:db8::7", 443)),
    ],
)
def test_a_name_or_an_ip_address_has_a_port(text, address):
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fl.example.org",
        ":443",
        "fl.example.org:",
        "fl.example.org:0",
        "fl.example.org:65536",
        "fl.example.org:0443",
        "fl.example.org:+443",
        "https://fl.example.org:443",
        "fl.example.org:443/path",
        "fl example.org:443",
        "-fl.example.org:443",
        "fl_a.example.org:443",
        "300.0.2.7:443",
        "2001:db8::7:443",
        "[192.0.2.7]:443",
        "[fl.example.org]:443",
        "[fe80::1%eth0]:443",
        "a" * 64 + ".org:443",
        "fl.example.org:443\n",
        "fl.example.org:４４３",
    ],
)
def test_anything_else_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="HOST:PORT, for example"):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "here"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("0.0.0.0:1", False),
        ("192.0.2.7:1", False),
        ("fl.example.org:1", False),
    ],
)
def test_it_is_known_whether_other_machines_reach_it(text, here):
    assert parse_address(text).is_this_machine is here
