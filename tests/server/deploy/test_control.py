"""The SuperLink's list of sites is made equal to the folder's, key by key."""

from types import SimpleNamespace

import pytest

from server.deploy.control import Control
from shared.errors import FederationError


def node(number, name, key, status="online"):
    return SimpleNamespace(node_id=number, name=name, public_key=key, status=status)


@pytest.fixture
def control():
    """A control without a connection, that remembers what it asked; `nodes` are there."""

    class Remembering(Control):
        def __init__(self) -> None:
            self.nodes, self.asked, self.refuses = [], [], ()

        def _ask(self, method, request):
            if method in self.refuses:
                raise FederationError(f"the SuperLink refuses {method}.")
            if method == "ListNodes":
                return SimpleNamespace(nodes_info=self.nodes)
            named = (request.name, request.public_key) if method == "RegisterNode" else ()
            self.asked.append((method, *(named or (request.node_id,))))
            return None

    return Remembering()


def test_new_sites_are_registered_in_the_order_of_names(control):
    control.register({"site_b": b"b", "site_a": b"a"})
    assert control.asked == [("RegisterNode", "site_a", b"a"), ("RegisterNode", "site_b", b"b")]


def test_what_is_registered_already_is_left_alone(control):
    control.nodes = [node(1, "site_a", b"a"), node(2, "site_b", b"b", "registered")]
    control.register({"site_a": b"a", "site_b": b"b"})
    assert control.asked == []


def test_a_site_with_another_key_loses_the_old_one(control):
    control.nodes = [node(1, "site_a", b"old")]
    control.register({"site_a": b"new"})
    assert control.asked == [("UnregisterNode", 1), ("RegisterNode", "site_a", b"new")]


def test_who_is_no_site_any_more_is_taken_off(control):
    control.nodes = [node(1, "site_a", b"a"), node(2, "stranger", b"s"), node(3, "", b"n")]
    control.register({"site_a": b"a"})
    assert control.asked == [("UnregisterNode", 2), ("UnregisterNode", 3)]


def test_what_was_taken_off_before_is_not_taken_off_again(control):
    control.nodes = [node(1, "site_a", b"a", "unregistered")]
    control.register({})
    assert control.asked == []


def test_two_sites_have_two_keys(control):
    with pytest.raises(FederationError, match="two sites have the same key"):
        control.register({"site_a": b"a", "site_b": b"a"})


def test_a_refused_key_is_told_with_a_way_out(control):
    control.refuses = ("RegisterNode",)
    with pytest.raises(FederationError, match=r"site_a cannot be registered.*join anew"):
        control.register({"site_a": b"a"})
