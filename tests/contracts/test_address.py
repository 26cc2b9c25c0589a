"""Store addresses: what each form means, and what is said of one that cannot be read."""

from __future__ import annotations

from typing import Any

import pytest

from features.store import connect
from features.store.address import Address, parse, without_password
from features.store.cluster import Cluster
from features.store.redis import RedisStore


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://h:1/2", Address("single", (), "", "redis://h:1/2")),
        ("unix:///run/redis.sock?db=1", Address("single", (), "", "unix:///run/redis.sock?db=1")),
        ("redis+cluster://a,b:7001", Address("cluster", (("a", 6379), ("b", 7001)), "", "redis://a:6379")),
        (
            "rediss+cluster://u:p%40s@[::1]:7000/0?ssl_cert_reqs=none",
            Address("cluster", (("::1", 7000),), "", "rediss://u:p%40s@[::1]:7000?ssl_cert_reqs=none"),
        ),
        ("redis+sentinel://a/main", Address("sentinel", (("a", 26379),), "main", "redis://a:26379")),
        (
            "rediss+sentinel://:p@a:1,b:2/main/3/",
            Address("sentinel", (("a", 1), ("b", 2)), "main", "rediss://:p@a:1/3"),
        ),
    ],
)
def test_forms(url: str, address: Address) -> None:
    assert parse(url) == address


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:6379", "is none of redis://, rediss://, unix://, redis[+]cluster://"),
        ("redis:localhost", "is none of"),
        ("http://h", "is none of"),
        ("redis+ring://h", "is none of"),
        ("unix+cluster:///run/redis.sock", "not behind a Unix socket"),
        ("redis+cluster://", "'' is no node; nodes are host:port, separated by commas"),
        ("redis+cluster://a:1,", "'' is no node"),
        ("redis+cluster://a:x", "'a:x' is no node"),
        ("redis+cluster://a:70000", "70000 is no port; ports are 1 to 65535"),
        ("redis+cluster://a/1", "a cluster has only database 0, found '/1'"),
        ("redis+sentinel://a:1", "names no service"),
        ("redis+sentinel://a:1/", "names no service"),
        ("redis+sentinel://a:1/main/x", "after the service comes the number of a database, found 'x'"),
        ("redis+sentinel://a:1/main/1/2", "found '1/2'"),
    ],
)
def test_what_cannot_be_read_is_named_without_its_password(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RedisStore(url)
    hidden = url.replace("://", "://u:secret@", 1)
    with pytest.raises(ValueError, match="store address ") as failure:
        parse(hidden if "://" in url else url)
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize("url", ["redis://u:secret@h/1", "redis+sentinel://u:secret@a/m?sentinel_password=secret&db=2"])
def test_passwords_are_not_shown(url: str) -> None:
    assert "secret" not in without_password(url)
    store = RedisStore(url)
    assert "secret" not in store.url
    store.close()


def settings_of(client: Any) -> dict[str, Any]:
    settings: dict[str, Any] = client.connection_pool.connection_kwargs
    return settings


def test_sentinels_may_have_a_password_of_their_own() -> None:
    url = "rediss+sentinel://shop:one%2Ftwo@a:1,b:2/main/3?sentinel_username=watch&sentinel_password=three"
    link = connect.connect(url, 2.0, [])
    assert isinstance(link, connect.OneServer)
    (client,) = link.primaries()
    settings = settings_of(client)
    assert [settings[name] for name in ("username", "password", "db", "socket_timeout")] == ["shop", "one/two", 3, 2.0]
    assert client.connection_pool.service_name == "main"
    assert "SSL" in client.connection_pool.connection_class.__name__
    for sentinel, host in zip(client.connection_pool.sentinel_manager.sentinels, "ab", strict=True):
        asked = settings_of(sentinel)
        assert [asked[name] for name in ("host", "username", "password")] == [host, "watch", "three"]
        assert "SSL" in sentinel.connection_pool.connection_class.__name__
    link.close()


def test_what_a_cluster_address_says_reaches_every_node(monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Any] = {}
    monkeypatch.setattr(connect, "RedisCluster", lambda **settings: made.update(settings))
    link = connect.connect("rediss+cluster://shop:secret@a:1,b/0?ssl_cert_reqs=none", 2.0, [])
    assert isinstance(link, Cluster)
    assert made == {}  # nothing is asked before it is needed
    link._client()
    assert [(node.host, node.port) for node in made.pop("startup_nodes")] == [("a", 1), ("b", 6379)]
    assert made == {
        "username": "shop",
        "password": "secret",
        "ssl": True,
        "ssl_cert_reqs": "none",
        "socket_timeout": 2.0,
        "socket_connect_timeout": 2.0,
    }
