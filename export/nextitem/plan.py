"""What is to be learnt, and from which sessions: the data set of next-item in its work directory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from export.datasets.sessions import Rules, Sessions, default_from_ms, parted, read_sessions
from export.errors import UsageError
from export.split import date_of
from export.work import Work
from features.logfile import topic_file


class Plan(msgspec.Struct, frozen=True):
    """What a model is made from.

    Args:
        events: the event log's directory; `bytes` of its clicks, so that another log there is noticed.
        rules: what counts as a session.
        seed: of everything that is drawn.
        asked_ms: where the test was asked to begin; None: where the log's end says.
        from_ms: where it begins: what ends before is trained on.
        sessions, views, products: how many there are in training.
        tested: sessions of the test.
    """

    events: str
    bytes: int
    rules: Rules
    seed: int
    asked_ms: int | None
    from_ms: int
    sessions: int
    views: int
    products: int
    tested: int

    @property
    def key(self) -> str:
        """Tells plans apart."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]

    def told(self) -> str:
        """A sentence for the person who runs it."""
        return (
            f"{self.sessions:,} sessions with {self.views:,} views of {self.products:,} products before "
            f"{date_of(self.from_ms)}, {self.tested:,} sessions after it"
        )


def make_plan(work: Work, events: Path, rules: Rules, seed: int, asked_ms: int | None) -> Plan:
    """Writes the data set: sessions.npz, products.json and plan.json; those that are there of the same log stay.

    Raises:
        UsageError: no event log with views, or nothing to train on or to test.
    """
    size = _size(events)
    if (there := find_plan(work)) is not None:
        same = there.events, there.bytes, there.rules, there.seed, there.asked_ms
        if same == (str(events), size, rules, seed, asked_ms):
            return there
    sessions = read_sessions(events, rules).cleaned(rules)
    if len(sessions) == 0:
        raise UsageError(f"{events}: no session is left; --rule least_seen=1 keeps products that were seldom viewed")
    from_ms = default_from_ms(sessions) if asked_ms is None else asked_ms
    before, after = parted(sessions, from_ms, rules)
    counts = len(before), len(before.item), len(before.names), len(after)
    plan = Plan(str(events), size, rules, seed, asked_ms, from_ms, *counts)
    work.directory.mkdir(parents=True, exist_ok=True)
    np.savez(work.directory / "sessions.npz", item=before.item, starts=before.starts, end_ms=before.end_ms)
    work.save("products.json", before.names)
    work.save("plan.json", plan)
    return plan


def _size(events: Path) -> int:
    try:
        return topic_file(events, "clicks").stat().st_size
    except FileNotFoundError as error:
        raise UsageError(str(error)) from error


def find_plan(work: Work) -> Plan | None:
    """The plan of a work directory, if there is one."""
    return work.load("plan.json", "dataset", Plan) if (work.directory / "plan.json").exists() else None


def read_plan(work: Work) -> Plan:
    """The plan of a work directory.

    Raises:
        UsageError: there is none.
    """
    if (plan := find_plan(work)) is None:
        raise UsageError(f"{work.directory} holds no next-item model; run `tidecast-export train {_COMMAND}` first")
    return plan


_COMMAND = "next-best-offer --task next-item"


def training_sessions(work: Work) -> Sessions:
    """The sessions that are trained on, and that baselines learn from."""
    with np.load(work.path("sessions.npz", "dataset")) as file:
        names = work.load("products.json", "dataset", list[str])
        return Sessions(names, file["item"], file["starts"], file["end_ms"])


def rules_of(texts: Sequence[str]) -> Rules:
    """Rules from `--rule name=number`.

    Raises:
        UsageError: no such rule, or no whole number above 0.

    >>> rules_of(["least_seen=1"])
    Rules(gap_minutes=30, least_views=2, least_seen=1)
    """
    found = {name: value for name, _, value in (text.partition("=") for text in texts)}
    known = Rules.__struct_fields__
    if wrong := [name for name, value in found.items() if name not in known or not value.isdecimal() or value == "0"]:
        raise UsageError(f"--rule {wrong[0]}={found[wrong[0]]}: give one of {', '.join(known)} with a whole number")
    return Rules(**{name: int(value) for name, value in found.items()})
