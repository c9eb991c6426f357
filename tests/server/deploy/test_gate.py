"""The gate: hospitals reach what is theirs, and only the coordinator's word submits a run."""

import asyncio

import pytest

from server.deploy.gate import HEADER, Gate, control_word, whole

SECRET = b"0123456789abcdef0123456789abcdef"
WORD = control_word(SECRET).encode()
HERE, ELSEWHERE = ("127.0.0.1", 5000), ("192.0.2.7", 5000)


async def behind(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"in"})


def status(path, *, client=ELSEWHERE, headers=(), kind="http"):
    said = []

    async def send(event):
        said.append(event)

    scope = {"type": kind, "path": path, "client": client, "headers": list(headers)}
    asyncio.run(Gate(behind, control_word(SECRET))(scope, None, send))
    return said[0]["status"] if said else None


@pytest.mark.parametrize("path", ["/v1/fleet/pull-messages", "/v1/fleet/activate-node", "/health"])
def test_hospitals_reach_the_fleet_and_its_health(path):
    assert status(path) == 200


@pytest.mark.parametrize(
    "path",
    ["/docs", "/openapi.json", "/", "/v1/fleet", "/V1/FLEET/x", "//v1/fleet/x", "/v2/fleet/x"],
)
@pytest.mark.parametrize("client", [HERE, ELSEWHERE], ids=["here", "elsewhere"])
def test_nobody_reaches_what_is_not_named(path, client):
    assert status(path, client=client, headers=[(HEADER.encode(), WORD)]) == 403


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], 403),
        ([(HEADER.encode(), b"")], 403),
        ([(HEADER.encode(), control_word(b"another").encode())], 403),
        ([(HEADER.encode(), WORD)], 200),
        ([(HEADER.title().encode(), WORD)], 200),
    ],
    ids=["no word", "empty", "another's", "the word", "the word, capital letters"],
)
@pytest.mark.parametrize("client", [HERE, ELSEWHERE], ids=["here", "elsewhere"])
def test_a_run_is_submitted_by_the_coordinators_word_alone(headers, expected, client):
    assert status("/v1/control/start-run", client=client, headers=headers) == expected


@pytest.mark.parametrize(
    ("client", "expected"), [(HERE, 200), (("::1", 1), 200), (ELSEWHERE, 403), (None, 403)]
)
def test_the_studys_process_is_on_this_machine(client, expected):
    assert status("/v1/runtime/pull-messages", client=client) == expected


def test_another_kind_of_connection_gets_no_answer():
    assert status("/v1/fleet/x", kind="websocket") is None


def test_the_word_does_not_show_the_secret():
    assert len(control_word(SECRET)) == 64
    assert control_word(SECRET) != control_word(SECRET + b"0")
    assert SECRET.hex() not in control_word(SECRET)


def test_a_requests_content_reaches_what_is_behind_in_one_piece():
    coming = [
        {"type": "http.request", "body": b"ab", "more_body": True},
        {"type": "http.request", "body": b"cd"},
        {"type": "http.disconnect"},
    ]
    heard = []

    async def receive():
        return coming.pop(0)

    async def listening(_scope, receive, _send):
        heard.extend([await receive(), await receive()])

    scope = {"type": "http", "path": "/health", "client": ELSEWHERE, "headers": []}
    asyncio.run(Gate(listening, "word")(scope, receive, None))
    assert heard == [
        {"type": "http.request", "body": b"abcd", "more_body": False},
        {"type": "http.disconnect"},
    ]


def test_a_request_that_breaks_off_is_told_of_and_not_completed():
    coming = [
        {"type": "http.request", "body": b"ab", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive():
        return coming.pop(0)

    assert asyncio.run(whole(receive)()) == {"type": "http.disconnect"}
