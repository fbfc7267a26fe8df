"""Passwords, headers and limits of the web configuration on a running server."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.web_server import FakeBackend, client_of, hashed, serving
from opencode_exporter.errors import ConfigError
from opencode_exporter.web import auth as web_auth
from opencode_exporter.web.auth import BasicAuth
from opencode_exporter.web.middleware import _Bucket
from opencode_exporter.web.web_config import RateLimit

PATHS = ("/", "/metrics", "/-/healthy", "/-/ready", "/nothing")


def write_users(path: Path, **passwords: str) -> None:
    """Write a configuration that holds users only."""
    lines = [f"  {name}: {hashed(password)}" for name, password in passwords.items()]
    path.write_text("\n".join(["basic_auth_users:", *lines]))


def basic(name: str, password: str) -> str:
    """Return the header of basic auth."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.mark.slow
def test_every_path_needs_the_password(tmp_path: Path) -> None:
    """With users configured, nothing is shown to anybody else, pages that do not exist included."""
    write_users(tmp_path / "web.yml", alice="wonder:land", bob="x" * 80)
    backend = FakeBackend()
    with serving(backend, web_config=tmp_path / "web.yml") as server, client_of(server) as client:
        for path in PATHS:
            refused = client.get(path)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"].startswith("Basic realm=")
            assert client.post(path).status_code == 401
        for wrong in (("alice", "wonder"), ("alice", ""), ("carol", "wonder:land"), ("", "")):
            assert client.get("/metrics", auth=wrong).status_code == 401
        assert backend.asked == []
        for _ in range(2):
            assert client.get("/metrics", auth=("alice", "wonder:land")).status_code == 200
        assert client.get("/metrics", auth=("bob", "x" * 80)).status_code == 200
        assert client.get("/nothing", auth=("alice", "wonder:land")).status_code == 404


@pytest.mark.parametrize(
    "header",
    ["", "Basic", "Basic !!!", "Basic YWxpY2U=", "Bearer YWxpY2U6cHc=", "Basic YWxpY2U6cHc= x"],
)
def test_malformed_credentials_are_refused(tmp_path: Path, header: str) -> None:
    """What cannot be read as a name and a password is no password, and no failure either."""
    write_users(tmp_path / "web.yml", alice="pw")
    with serving(web_config=tmp_path / "web.yml") as server, client_of(server) as client:
        assert client.get("/", headers={"Authorization": header}).status_code == 401
        good = {"Authorization": "bASIC " + base64.b64encode(b"alice:pw").decode()}
        assert client.get("/", headers=good).status_code == 200


def test_comparison_that_fails_lets_others_come(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nobody was told of its error: the request hung for ever, and all passwords behind it."""
    right = web_auth._matches

    def matches(password: bytes, against: bytes) -> bool:
        if password == b"odd":
            raise ValueError(password)
        return right(password, against)

    monkeypatch.setattr(web_auth, "_matches", matches)
    write_users(tmp_path / "web.yml", alice="pw")
    with serving(web_config=tmp_path / "web.yml") as server, client_of(server) as client:
        assert client.get("/", auth=("alice", "odd")).status_code == 500
        assert client.get("/", auth=("alice", "pw")).status_code == 200


def test_bcrypt_runs_once_per_password_and_for_unknown_users(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A verdict is remembered; an unknown user costs a comparison with the dearest hash."""
    compared: list[bytes] = []

    def matches(password: bytes, against: bytes) -> bool:
        compared.append(against)
        return password == b"right"

    monkeypatch.setattr(web_auth, "_matches", matches)
    users = {"alice": "$2y$04$cheap", "bob": "$2y$10$dear"}

    async def ask() -> None:
        auth = BasicAuth()

        async def allows(name: str, password: str, known: Mapping[str, str] = users) -> bool:
            return await auth.refusal(known, basic(name, password), "192.0.2.7") is None

        for _ in range(3):
            assert not await allows("alice", "wrong")
            assert not await allows("nobody", "right")
        together = [allows("alice", "right") for _ in range(5)]
        assert await asyncio.gather(*together) == [True] * 5
        assert compared == [b"$2y$04$cheap", b"$2y$10$dear", b"$2y$04$cheap"]
        # A new hash for the same user is a new question.
        assert await allows("alice", "right", {"alice": "$2y$05$new"})
        assert len(auth._right) == 1
        for number in range(200):
            await allows("flood", str(number))
        assert len(auth._wrong) <= 100

    asyncio.run(ask())


def test_wrong_password_is_not_compared_where_the_right_one_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Of a thousand guesses none costs a comparison, and the right one is at hand among them.

    A hundred of them drove it out of memory, and it then waited behind a hundred more.
    """
    compared: list[bytes] = []

    def matches(password: bytes, _against: bytes) -> bool:
        compared.append(password)
        return password == b"right"

    monkeypatch.setattr(web_auth, "_matches", matches)

    async def ask() -> None:
        auth = BasicAuth()
        users = {"alice": "$2y$04$cheap"}
        right = basic("alice", "right")
        assert await auth.refusal(users, right, "192.0.2.7") is None
        for number in range(1000):
            wrong = basic("alice", f"guess {number}")
            assert await auth.refusal(users, wrong, "192.0.2.7") is not None
            assert await auth.refusal(users, right, "192.0.2.7") is None

    asyncio.run(ask())
    assert compared == [b"right"]


def test_refusals_take_longer_the_more_there_are() -> None:
    """A scraper with an old password waits a little, a flood a minute; time mends it."""
    guesses = web_auth._Guesses()
    scraper = [guesses.note("scraper", 15.0 * number) for number in range(100)]
    flood = [guesses.note("flood", 0.1 * number) for number in range(1000)]
    assert scraper[0] == 1
    assert max(scraper) < 3
    assert flood[-1] == 60
    assert guesses.note("scraper", 1485) < 3
    assert guesses.note("flood", 5000) == 1
    for number in range(2000):
        guesses.note(str(number), 5000)
    assert len(guesses._known) <= 1000


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
    ],
)
def test_client_is_who_an_address_belongs_to(address: str, client: str) -> None:
    """In IPv6 one client has more addresses than could be counted."""
    assert web_auth._client(address) == client


def test_many_guesses_do_not_keep_the_password_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The right one is compared before a hundred guesses of others, though it came last.

    Each waited for all that had come before it.
    """
    compared: list[bytes] = []

    def matches(password: bytes, _against: bytes) -> bool:
        compared.append(password)
        return password == b"right"

    monkeypatch.setattr(web_auth, "_matches", matches)
    users = {"alice": "$2y$04$cheap"}

    async def ask() -> None:
        auth = BasicAuth()
        async with asyncio.TaskGroup() as tasks:
            for number in range(100):
                header = basic("alice" if number % 2 else "nobody", str(number))
                tasks.create_task(auth.refusal(users, header, "192.0.2.8"))
            await asyncio.sleep(0)
            assert await auth.refusal(users, basic("alice", "right"), "192.0.2.7") is None

    asyncio.run(ask())
    assert compared.index(b"right") <= 1


@pytest.mark.slow
def test_refusal_takes_a_second(tmp_path: Path) -> None:
    """Guesses are slow, known names and unknown ones alike; who says nothing is told at once."""
    write_users(tmp_path / "web.yml", alice="pw")
    with serving(web_config=tmp_path / "web.yml") as server, client_of(server) as client:
        assert client.get("/", auth=("alice", "pw")).status_code == 200
        for wrong in (("alice", "wrong"), ("alice", "wrong"), ("nobody", "pw")):
            began = time.monotonic()
            assert client.get("/", auth=wrong).status_code == 401
            assert time.monotonic() - began >= 1


def test_users_and_headers_change_without_a_restart(tmp_path: Path) -> None:
    """A reload lets new users in and old ones out, also on a connection that is open."""
    path = tmp_path / "web.yml"
    write_users(path, alice="one")
    with serving(web_config=path) as server, client_of(server) as client:
        assert client.get("/metrics", auth=("alice", "one")).status_code == 200
        write_users(path, alice="two")
        with path.open("a") as file:
            file.write("\nhttp_server_config: {headers: {X-Frame-Options: deny}}\n")
        server.reload()
        assert client.get("/metrics", auth=("alice", "one")).status_code == 401
        response = client.get("/metrics", auth=("alice", "two"))
        assert (response.status_code, response.headers["x-frame-options"]) == (200, "deny")
        path.write_text("nonsense: 1")
        with pytest.raises(ConfigError, match="nonsense"):
            server.reload()
        assert client.get("/metrics", auth=("alice", "two")).status_code == 200


def test_configured_headers_are_on_every_answer(tmp_path: Path) -> None:
    """Headers of the file replace our own, an empty one takes ours away, errors included."""
    (tmp_path / "web.yml").write_text(
        "http_server_config:\n  headers:\n"
        "    Content-Security-Policy: default-src 'self'\n"
        "    X-Content-Type-Options:\n"
    )
    with serving(web_config=tmp_path / "web.yml") as server, client_of(server) as client:
        for path in PATHS:
            headers = client.get(path).headers
            assert headers.get_list("content-security-policy") == ["default-src 'self'"]
            assert "x-content-type-options" not in headers


def test_rate_limit(tmp_path: Path) -> None:
    """More requests than the burst get 429 until the interval has passed."""
    (tmp_path / "web.yml").write_text("rate_limit: {interval: 1h, burst: 3}")
    with serving(web_config=tmp_path / "web.yml") as server, client_of(server) as client:
        statuses = [client.get("/metrics").status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]


def test_rate_limit_refills_up_to_the_burst() -> None:
    """A request is earned per interval, and no more than the burst is saved."""
    now = 0.0
    bucket, limit = _Bucket(lambda: now), RateLimit(interval_s=2.0, burst=2)
    assert [bucket.take(limit) for _ in range(3)] == [True, True, False]
    now = 2.0
    assert [bucket.take(limit) for _ in range(2)] == [True, False]
    now = 1000.0
    assert [bucket.take(limit) for _ in range(3)] == [True, True, False]
    assert bucket.take(None)
