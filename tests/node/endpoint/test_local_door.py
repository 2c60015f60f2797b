"""The local door under attack, over a real socket: browsers, strangers, floods and nonsense."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from node import keys
from node.data.values import customer_key
from node.endpoint import guard, server
from node.endpoint.server import LocalDoor
from node.endpoint.tokens import TokenDesk
from node.house import Home, open_home
from node.policy.journal import Folder
from node.store.consents import Consents, Event, State
from node.store.database import Database
from protocols.audit.consent import leaf
from protocols.audit.entries import decode
from protocols.errors import InputError, LocalError, Refused

SCOPE = "train:churn"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

Answer = tuple[int, dict[str, Any], dict[str, str]]


class Shop:
    """A house with its door open, and a program that knocks."""

    def __init__(self, folder: Path) -> None:
        keys.create(folder)
        self.home: Home = open_home(folder)
        self.database = Database.open(folder / "node.db", create=True)
        self.tokens = TokenDesk(self.database, self.home.journal, self.home.clock)
        self.token = self.tokens.new("webshop")[1]
        self.door = LocalDoor(self.home, self.database, 0)
        self.door.start()
        self.host = f"127.0.0.1:{self.door.port}"

    def ask(
        self, method: str, path: str, body: bytes | str | None = None, **headers: str | None
    ) -> Answer:
        """One request with a good token; a header given as None is left out."""
        wanted: dict[str, str | None] = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": JSON if body is not None else None,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        connection = HTTPConnection("127.0.0.1", self.door.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host="Host" in wanted)
            raw = body.encode() if isinstance(body, str) else body
            for name, value in wanted.items():
                if value is not None:
                    connection.putheader(name, value)
            if raw is not None and "Content-Length" not in wanted:
                connection.putheader("Content-Length", str(len(raw)))
            connection.endheaders(raw)
            answer = connection.getresponse()
            text = answer.read()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, json.loads(text) if text else {}, told
        finally:
            connection.close()

    def say(self, *events: dict[str, str]) -> Answer:
        return self.ask("POST", "/v1/consents", json.dumps({"events": list(events)}))

    def newest(self, customer: str, scope: str = SCOPE) -> State | None:
        key = customer_key(self.home.keys.customer_secret, customer)
        assert key is not None
        with self.database.read() as connection:
            found = Consents(connection).newest(scope, leaf(scope, key))
        return None if found is None else found.state

    def entries(self) -> list[tuple[str, dict[str, Any]]]:
        lines = Folder(self.home.folder / "audit").lines(0)
        made = [decode(line.rstrip(b"\n"), "line") for line in lines]
        return [(one.kind.value, dict(one.facts)) for one in made]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    made = Shop(tmp_path_factory.mktemp("door") / "home")
    yield made
    made.door.stop()
    made.database.close()


def granted(customer: str, **more: str) -> dict[str, str]:
    return {"customer": customer, "scope": SCOPE, "state": "granted", "at": "2026-01-02", **more}


# --- what it is for ----------------------------------------------------------------------------


def test_answers_come_in_and_the_same_again_changes_nothing(shop: Shop) -> None:
    events = [granted(f"c-{k}") for k in range(20)]
    code, found, headers = shop.say(*events)
    assert (code, found["received"], found["added"]) == (200, 20, 20)
    assert shop.newest("C-7") is State.GRANTED
    assert shop.say(*events)[1]["added"] == 0
    assert headers["content-type"] == JSON and headers["cache-control"] == "no-store"
    assert not [name for name in headers if name.startswith("access-control") or "cookie" in name]
    code, one, _ = shop.ask("POST", "/v1/consents", json.dumps(granted("alone")))
    assert (code, one["added"]) == (200, 1)


def test_many_at_once_are_entered_once(shop: Shop) -> None:
    events = [granted(f"at-once-{k}") for k in range(50)]
    with ThreadPoolExecutor(8) as pool:
        found = [one.result() for one in [pool.submit(shop.say, *events) for _ in range(8)]]
    assert {code for code, _, _ in found} == {200}
    assert sum(one["added"] for _, one, _ in found) == 50
    assert shop.home.consents(shop.database).verify() >= 50


def test_a_withdrawal_in_one_line(shop: Shop) -> None:
    shop.say(granted("lea"), granted("leo"), granted("lou"))
    code, found, _ = shop.ask(
        "POST", "/v1/withdraw", "customer=lea&scope=train%3Achurn", Content_Type=FORM
    )
    assert (code, found["state"], found["known_before"]) == (200, "withdrawn", 1)
    assert shop.newest("lea") is State.WITHDRAWN
    body = json.dumps({"customer": "leo", "scope": "*", "as": "gpc"})
    code, found, _ = shop.ask("POST", "/v1/withdraw", body)
    assert code == 200 and SCOPE in found["scopes"] and "train:demand" in found["scopes"]
    assert shop.newest("leo") is shop.newest("leo", "train:demand") is State.OBJECTED
    assert shop.newest("lou") is State.GRANTED


def test_a_no_without_an_instant_counts_though_a_clock_was_set_back(shop: Shop) -> None:
    """The yes came while the clock was wrong; the ledger has it in the future."""
    key = customer_key(shop.home.keys.customer_secret, "ahead")
    assert key is not None
    ahead = shop.home.clock() + timedelta(days=400)
    with shop.database.write() as connection:
        Consents(connection).add([Event(key, SCOPE, State.GRANTED, ahead, "", "till")], ahead)
    for state in ("withdrawn", "gpc"):
        event = {"customer": "ahead", "scope": SCOPE, "state": state}
        assert shop.ask("POST", "/v1/consents", json.dumps(event))[0] == 200
        assert shop.newest("ahead") is not State.GRANTED
    assert shop.home.consents(shop.database).verify()


@pytest.mark.parametrize("place", ["/v1/consents", "/v1/withdraw"])
def test_half_a_sign_is_no_number(shop: Shop, place: str) -> None:
    event = {"customer": "x\ud800", "scope": SCOPE}
    more = {"state": "withdrawn"} if place.endswith("consents") else {}
    code, found, _ = shop.ask("POST", place, json.dumps(event | more))
    assert code == 422 and "no text" in found["error"]["problem"]


def test_counts_and_never_lists(shop: Shop) -> None:
    shop.say(granted("counted"))
    code, found, _ = shop.ask("GET", f"/v1/consents/{SCOPE}/count")
    assert code == 200 and set(found) == {"schema", "scope", "counts"}
    assert found["counts"]["granted"] >= 1
    assert all(isinstance(value, int) for value in found["counts"].values())
    for path in ("/v1/consents", f"/v1/consents/{SCOPE}", "/v1/customers", "/", "/docs"):
        assert shop.ask("GET", path)[0] in (404, 405), path
    assert shop.ask("GET", "/v1/consents/marketing/count")[0] == 422


def test_health_needs_no_token_and_says_nothing(shop: Shop) -> None:
    assert shop.ask("GET", "/v1/health", Authorization=None)[:2] == (
        200,
        {"schema": 1, "open": True},
    )


def test_the_journal_has_counts_and_names_nobody(shop: Shop) -> None:
    shop.say(granted("journal-nora"), granted("journal-nils"))
    kind, facts = shop.entries()[-1]
    token = next(one for one in shop.tokens.list() if one.name == "webshop")
    assert (kind, facts["received"], facts["events"]) == ("consent", 2, 2)
    assert facts["door"] == token.id
    raw = (shop.home.folder / "audit" / "log.jsonl").read_bytes()
    for secret in (b"nora", shop.token.encode(), token.token_hash, token.token_hash.hex().encode()):
        assert secret not in raw


def test_the_token_is_nowhere_on_the_disk(shop: Shop) -> None:
    code = shop.token.removeprefix("coop_").encode()
    files = [path for path in shop.home.folder.rglob("*") if path.is_file()]
    assert len(files) > 3 and not [path for path in files if code in path.read_bytes()]


# --- who may speak -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Basic d2Vic2hvcDp4", "Bearer coop_" + "A" * 43, "Bearer ü"],
)
def test_no_token_no_answer(shop: Shop, authorization: str | None) -> None:
    shop.door.failures.forget()
    code, found, headers = shop.ask(
        "POST", "/v1/consents", json.dumps(granted("stranger")), Authorization=authorization
    )
    assert (code, found["error"]["code"]) == (401, "unauthenticated")
    assert headers["www-authenticate"] == "Bearer"
    assert shop.newest("stranger") is None


def test_tokens_end(shop: Shop) -> None:
    good, text = shop.tokens.new("till-2", 30)
    assert shop.tokens.check(text) == good
    later = TokenDesk(
        shop.database, shop.home.journal, lambda: shop.home.clock() + timedelta(days=31)
    )
    with pytest.raises(Refused, match="not good any more"):
        later.check(text)
    with pytest.raises(InputError, match="already"):
        shop.tokens.new("till-2")
    header = f"Bearer {text}"
    assert shop.ask("GET", f"/v1/consents/{SCOPE}/count", Authorization=header)[0] == 200
    shop.tokens.revoke("till-2")
    assert shop.ask("GET", f"/v1/consents/{SCOPE}/count", Authorization=header)[0] == 401
    with pytest.raises(InputError, match="no token"):
        shop.tokens.revoke("till-2")
    assert shop.tokens.new("till-2")[0].id != good.id
    for name in ("", "a b", "../x", "x" * 41, "-x"):
        with pytest.raises(InputError, match="a name has"):
            shop.tokens.new(name)
    with pytest.raises(InputError, match="days"):
        shop.tokens.new("short", 0)


def test_many_failures_are_slowed_and_told_and_lock_nobody_out(shop: Shop) -> None:
    before = len([1 for kind, facts in shop.entries() if facts.get("what") == "failures"])
    codes = [
        shop.ask("GET", f"/v1/consents/{SCOPE}/count", Authorization="Bearer x")[0]
        for _ in range(guard.FAILURES + 3)
    ]
    assert codes[-1] == 429 and set(codes) <= {401, 429}
    assert shop.ask("GET", f"/v1/consents/{SCOPE}/count")[0] == 200
    told = [facts for kind, facts in shop.entries() if facts.get("what") == "failures"]
    assert len(told) == before + 1
    shop.door.failures.forget()


# --- browsers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "0.0.0.0:{port}", "", "["],
)
def test_another_name_in_the_host_header(shop: Shop, host: str) -> None:
    """DNS rebinding: the page's own name points at this machine."""
    name = host.format(port=shop.door.port)
    code, found, _ = shop.ask("POST", "/v1/consents", json.dumps(granted("rebound")), Host=name)
    assert code in (400, 403) and shop.newest("rebound") is None
    if code == 403:
        assert "Host" in found["error"]["problem"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Origin", "http://127.0.0.1"),
        ("Sec_Fetch_Site", "cross-site"),
        ("Sec_Fetch_Site", "none"),
        ("Referer", "https://evil.example/"),
    ],
)
def test_a_page_in_a_browser_is_refused_even_with_a_token(
    shop: Shop, name: str, value: str
) -> None:
    body = json.dumps(granted("paged"))
    code, found, headers = shop.ask("POST", "/v1/consents", body, **{name: value})
    assert (code, found["error"]["code"]) == (403, "refused")
    assert not [one for one in headers if one.startswith("access-control")]
    assert shop.newest("paged") is None
    assert shop.ask("GET", "/v1/health", **{name: value})[0] == 403
    preflight = {"Access_Control_Request_Method": "POST", name: value}
    code, _, headers = shop.ask("OPTIONS", "/v1/consents", **preflight)
    assert code == 403 and "access-control-allow-origin" not in headers


def test_a_program_that_sends_what_node_sends_is_served(shop: Shop) -> None:
    path = f"/v1/consents/{SCOPE}/count"
    assert shop.ask("GET", path, Sec_Fetch_Mode="cors", User_Agent="node")[0] == 200


def test_two_hosts_are_none(shop: Shop) -> None:
    request = (
        f"GET /v1/health HTTP/1.1\r\nHost: {shop.host}\r\nHost: evil.example\r\n\r\n"
    ).encode()
    assert b"200 OK" not in raw(shop, request)


# --- nonsense ----------------------------------------------------------------------------------


def raw(
    shop: Shop, request: bytes, *, then: Callable[[socket.socket], None] | None = None
) -> bytes:
    with socket.create_connection(("127.0.0.1", shop.door.port), timeout=10) as knock:
        out = b""
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):  # it was not listening
            knock.sendall(request)
            if then is not None:
                then(knock)
            while part := knock.recv(65536):
                out += part
        return out


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ("", "body"),
        ("{", "body"),
        ("[]", "body"),
        ('{"events": []}', "events"),
        ('{"events": {}}', "events"),
        ('{"events": [], "more": 1}', "body"),
        ('{"events": [1]}', "events[0]"),
        ('{"customer": "x", "customer": "y"}', "body"),
        ('{"customer": 7}', "events[0].customer"),
        (json.dumps(granted("")), "events[0].customer"),
        (json.dumps(granted("x", scope="marketing")), "events[0]"),
        (json.dumps(granted("x", scope="*")), "events[0]"),
        (json.dumps(granted("x", state="yes")), "events[0]"),
        (json.dumps(granted("x", at="tomorrow")), "events[0]"),
        (json.dumps(granted("x", at="2999-01-01")), "events[0]"),
        (json.dumps(granted("x", at="2026-01-02T10:00:00+99:00")), "events[0]"),
        (json.dumps(granted("x", wording="seen")), "events[0]"),
        (json.dumps(granted("x", source="=cmd()")), "events[0]"),
        (json.dumps(granted("x", note="hello")), "events[0]"),
        (json.dumps(granted("x" * 300)), "events[0].customer"),
        ("[" * 2000, "body"),
        ('{"customer": "\ud800"}'.encode("utf-8", "surrogatepass").decode("latin-1"), "events[0]"),
    ],
)
def test_what_cannot_be_read_changes_nothing(shop: Shop, body: str, where: str) -> None:
    with shop.database.read() as connection:
        before = Consents(connection).position()
    good = json.dumps(granted("beside"))
    code, found, _ = shop.ask("POST", "/v1/consents", body)
    assert code in (413, 422), found
    assert found["error"]["where"].startswith(where) and found["error"]["problem"]
    mixed = f'{{"events": [{good}, {body}]}}'
    assert shop.ask("POST", "/v1/consents", mixed)[0] in (413, 422)
    with shop.database.read() as connection:
        assert Consents(connection).position() == before


@pytest.mark.parametrize(
    "body",
    [
        "",
        "customer",
        "customer=x",
        "customer=x&scope=y",
        "customer=&scope=train:churn",
        "customer=x&customer=y&scope=train:churn",
        "customer=x&scope=train:churn&as=granted",
        "customer=x&scope=train:churn&z=1",
        "customer=%ff&scope=train:churn",
        "&".join("abcdefghij"),
    ],
)
def test_forms_that_cannot_be_read(shop: Shop, body: str) -> None:
    assert shop.ask("POST", "/v1/withdraw", body, Content_Type=FORM)[0] in (400, 422)


@pytest.mark.parametrize("kind", [None, "text/plain", "multipart/form-data; boundary=x", FORM])
def test_another_content_type(shop: Shop, kind: str | None) -> None:
    code, found, _ = shop.ask(
        "POST", "/v1/consents", json.dumps(granted("typed")), Content_Type=kind
    )
    assert (code, found["error"]["where"]) == (400, "Content-Type")
    assert shop.newest("typed") is None


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../v1/health",
        "/v1//health",
        "/v1/%2e%2e/health",
        "/v1/health/",
        "/v1/health?x=1",
        "//evil.example/v1/health",
        "/v1/consents/train%3achurn/count",
        "/V1/health",
        "/v1\\health",
        "/v1/consents/" + "a" * 9000 + "/count",
        "*",
    ],
)
def test_tricks_with_the_path(shop: Shop, path: str) -> None:
    code, found, _ = shop.ask("GET", path)
    assert code in (400, 404, 422) and "open" not in found


def test_too_much(shop: Shop) -> None:
    huge = str(guard.MAX_BODY_BYTES + 1)
    code, found, _ = shop.ask("POST", "/v1/consents", b"", Content_Length=huge)
    assert (code, found["error"]["code"]) == (413, "limit")
    negative = f"POST /v1/consents HTTP/1.1\r\nHost: {shop.host}\r\nContent-Length: -1\r\n\r\n"
    assert b"400 " in raw(shop, negative.encode()).splitlines()[0]
    many = [granted(f"m{k}") for k in range(1001)]
    assert shop.say(*many)[1]["error"]["where"] == "events"
    head = f"POST /v1/consents HTTP/1.1\r\nHost: {shop.host}\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"

    def flood(knock: socket.socket) -> None:
        for _ in range(17):
            knock.sendall(chunk)

    assert b"200 OK" not in raw(shop, head.encode(), then=flood)
    lines = "".join(f"X-{k}: {'y' * 1000}\r\n" for k in range(30))
    wide = f"GET /v1/health HTTP/1.1\r\nHost: {shop.host}\r\n{lines}\r\n"
    assert b"413 " in raw(shop, wide.encode()).splitlines()[0]
    many_headers = "".join(f"X-{k}: y\r\n" for k in range(60))
    request = f"GET /v1/health HTTP/1.1\r\nHost: {shop.host}\r\n{many_headers}\r\n"
    assert b"413 " in raw(shop, request.encode()).splitlines()[0]


def test_too_slow(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_TIMEOUT_S", 0.2)
    monkeypatch.setattr(server, "FIRST_REQUEST_S", 0.2)
    head = f"POST /v1/consents HTTP/1.1\r\nHost: {shop.host}\r\nContent-Length: 99\r\n\r\n{{"
    assert b"408 " in raw(shop, head.encode()).splitlines()[0]
    assert raw(shop, b"GET /v1/health HTTP/1.1\r\nHo") == b""  # hung up without a word
    assert shop.ask("GET", "/v1/health")[0] == 200


def test_it_listens_on_this_machine_only(shop: Shop) -> None:
    bound = {one.getsockname()[0] for one in shop.door._sockets}
    assert bound <= {"127.0.0.1", "::1"} and "127.0.0.1" in bound
    with pytest.raises(LocalError, match="in use"):
        LocalDoor(shop.home, shop.database, shop.door.port)


def test_what_a_full_disk_says_names_no_place(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise LocalError("the disk is full; nothing was changed.", where=str(shop.home.folder))

    monkeypatch.setattr(Consents, "add_rows", full)
    code, found, _ = shop.say(granted("unlucky"))
    assert code == 500 and "disk is full" in found["error"]["problem"]
    assert str(shop.home.folder) not in json.dumps(found)
