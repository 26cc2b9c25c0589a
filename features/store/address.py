"""Where a store is: one server, the nodes of a cluster, or the sentinels that know a primary."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

_FORMS = (
    "redis://, rediss://, unix://, redis+cluster://host:port[,host:port…] or "
    "redis+sentinel://host:port[,host:port…]/service[/db]"
)
_NODE = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:\[\]]+)(:(?P<port>[0-9]{1,5}))?")
_DEFAULT_PORT = {"cluster": 6379, "sentinel": 26379}


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed store address.

    Args:
        kind: what is at the nodes.
        nodes: (host, port) of the cluster's nodes or of the sentinels; empty for one server.
        service: the name that the sentinels know the primary by.
        options: the address as a plain `redis://` or `rediss://` one: credentials, database and further options.
    """

    kind: Literal["single", "cluster", "sentinel"]
    nodes: tuple[tuple[str, int], ...]
    service: str
    options: str


def without_password(url: str) -> str:
    """A store address that can be shown.

    >>> without_password("redis://shop:secret@redis:6379/0"), without_password("redis://redis:6379/0")
    ('redis://***@redis:6379/0', 'redis://redis:6379/0')
    >>> without_password("redis+sentinel://shop:secret@a,b/main?sentinel_password=secret")
    'redis+sentinel://***@a,b/main?sentinel_password=***'
    """
    shown = re.sub(r"//[^@/]*@", "//***@", url)
    return re.sub(r"((?:^|[?&_])password)=[^&]*", r"\1=***", shown)


def parse(url: str) -> Address:
    """Reads a store address.

    Raises:
        ValueError: says what is wrong with it, without its password.

    Example:
        >>> parse("redis+sentinel://a:26379,b/main/2")
        Address(kind='sentinel', nodes=(('a', 26379), ('b', 26379)), service='main', options='redis://a:26379/2')
    """
    try:
        return _parse(url)
    except ValueError as error:
        raise ValueError(f"store address {without_password(url)!r}: {error}") from None


def _parse(url: str) -> Address:
    scheme, _, kind = url.partition("://")[0].partition("+")
    if scheme not in ("redis", "rediss", "unix") or kind not in ("", "cluster", "sentinel") or "://" not in url:
        raise ValueError(f"is none of {_FORMS}")
    if not kind:
        return Address("single", (), "", url)
    if scheme == "unix":
        raise ValueError("a cluster or sentinels are not behind a Unix socket")
    parts = urlsplit(url)
    credentials, at, hosts = parts.netloc.rpartition("@")
    nodes = tuple(_node(text, _DEFAULT_PORT[kind]) for text in hosts.split(","))
    service, database = _path(kind, parts.path)
    host, port = nodes[0]
    shown = f"[{host}]" if ":" in host else host
    query = f"?{parts.query}" if parts.query else ""
    options = f"{scheme}://{credentials}{at}{shown}:{port}{database}{query}"
    if kind == "cluster":
        return Address("cluster", nodes, "", options)
    return Address("sentinel", nodes, service, options)


def _node(text: str, default_port: int) -> tuple[str, int]:
    match = _NODE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no node; nodes are host:port, separated by commas")
    port = int(match["port"] or default_port)
    if not 0 < port < 65_536:
        raise ValueError(f"{port} is no port; ports are 1 to 65535")
    return match["host"].strip("[]"), port


def _path(kind: str, path: str) -> tuple[str, str]:
    """The service, and the database as `/2` or empty."""
    service, *more = path.strip("/").split("/")
    if kind == "cluster":
        if (service or "0") != "0" or more:
            raise ValueError(f"a cluster has only database 0, found {path!r}")
        return "", ""
    if not service:
        raise ValueError("names no service; it is redis+sentinel://host:port/service, as in `sentinel monitor`")
    if len(more) > 1 or (more and not more[0].isdecimal()):
        raise ValueError(f"after the service comes the number of a database, found {'/'.join(more)!r}")
    return service, f"/{more[0]}" if more else ""
