"""Known data sets by name, and event logs that are made once and used again.

A file in this package that has a `DATASET` (a `KnownSet`) adds a data set; nothing else needs to know.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Sequence
from heapq import merge
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from pkgutil import iter_modules

import msgspec

from stream.errors import UsageError
from stream.eventlog import TOPIC_TYPES, Progress, write_topic
from stream.imports.dataset import Imported, ImportReport, KnownSet

__all__ = ["EventLogInfo", "ImportReport", "KnownSet", "build_event_log", "known_sets"]

_MARKER = "event_log.json"
_REPORT = "import_report.json"
_ABANDONED_AFTER_S = 3600.0


class EventLogInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What an event log was made of; `event_log.json` in its directory. It is written last.

    Args:
        name: the data set.
        attribution: whose data it is.
        source_sha256: fingerprint of the source file.
        code_sha256: fingerprint of the code that makes event logs: another code makes another log.
        orders: how many orders were taken; None is all.
        seed: of all that is simulated.
        simulate: whether clicks, stock and offers were made up.
        records: number of records by topic.
    """

    name: str
    attribution: str
    source_sha256: str
    code_sha256: str
    orders: int | None
    seed: int
    simulate: bool
    records: dict[str, int] = {}


def known_sets() -> dict[str, KnownSet]:
    """The data sets that can be imported by name.

    >>> sorted(known_sets())
    ['complete-journey', 'freshretailnet', 'online-retail']
    """
    found: dict[str, KnownSet] = {}
    for module in iter_modules(__path__, f"{__name__}."):
        dataset = getattr(import_module(module.name), "DATASET", None)
        if isinstance(dataset, KnownSet):
            found[dataset.name] = dataset
    return found


def build_event_log(
    name: str,
    source: Path,
    out: Path,
    orders: int | None = None,
    seed: int = 7,
    simulate: bool = True,
    progress: Progress | None = None,
) -> EventLogInfo:
    """Makes the event log of a known data set, or finds that `out` already is just that.

    The log is made beside `out` and moved there when it is complete; a stale or half-written one is replaced.

    Args:
        name: a key of `known_sets()`.
        source: the data set's file.
        out: the directory to make.
        orders: take only the first so many placed orders, and all else up to then.
        seed: of all that is simulated; the same seed gives the same bytes.
        simulate: make up the clicks, stock and offers that the set lacks, where that makes sense.
        progress: told about each step; not called if the log is there already.

    Returns:
        What the log was made of, with the number of records by topic.

    Raises:
        UsageError: an unknown name, no such source, or `out` holds something else than an event log.
    """
    dataset = _dataset(name)
    wanted = EventLogInfo(
        name=name,
        attribution=dataset.attribution,
        source_sha256=_source_fingerprint(source, dataset.beside, dataset.perhaps),
        code_sha256=_code_fingerprint(),
        orders=orders,
        seed=seed,
        simulate=simulate and dataset.simulate,
    )
    there = _read_marker(out)
    if there is not None and msgspec.structs.replace(there, records={}) == wanted:
        return there
    _check_replaceable(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(out)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.parent))
    try:
        records = _write(dataset, source, partial, wanted, progress)
        info = msgspec.structs.replace(wanted, records=records)
        (partial / _MARKER).write_bytes(msgspec.json.format(msgspec.json.encode(info)))
        partial.chmod(0o755)
        _move(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return info


def _dataset(name: str) -> KnownSet:
    sets = known_sets()
    if name not in sets:
        raise UsageError(f"no data set is called {name!r}; known sets are {', '.join(sorted(sets))}")
    return sets[name]


def _write(
    dataset: KnownSet, source: Path, out: Path, wanted: EventLogInfo, progress: Progress | None
) -> dict[str, int]:
    imported = dataset.read(source, wanted.orders, wanted.seed, progress)
    (out / _REPORT).write_bytes(msgspec.json.format(msgspec.json.encode(imported.report)))
    records = {"catalog": write_topic(out, "catalog", imported.catalog)}
    if imported.orders:
        records["orders"] = write_topic(out, "orders", imported.orders)
    return records | _write_rest(imported, out, wanted, progress)


def _write_rest(imported: Imported, out: Path, wanted: EventLogInfo, progress: Progress | None) -> dict[str, int]:
    if imported.inventory is not None:
        return {"inventory": write_topic(out, "inventory", imported.inventory)}
    if not wanted.simulate:
        return {"inventory": write_topic(out, "inventory", imported.adjustments)} | _write_real(imported, out)
    # Imported here: who only reads or maps tables needs no simulator.
    from stream.simulation import simulate

    made = simulate(imported.orders, imported.adjustments, imported.catalog, wanted.seed, progress)
    return {
        "inventory": write_topic(out, "inventory", made.inventory),
        "clicks": write_topic(out, "clicks", merge(imported.clicks, made.clicks, key=attrgetter("event_time_ms"))),
        "offers": write_topic(out, "offers", [*imported.offers, *made.offers]),
    }


def _write_real(imported: Imported, out: Path) -> dict[str, int]:
    """Clicks and offers of a set that has its own; others have no such files."""
    real: dict[str, Sequence[msgspec.Struct]] = {"clicks": imported.clicks, "offers": imported.offers}
    return {topic: write_topic(out, topic, records) for topic, records in real.items() if records}


def _source_fingerprint(source: Path, beside: Sequence[str] = (), perhaps: Sequence[str] = ()) -> str:
    digest = hashlib.sha256()
    beside = [*beside, *(name for name in perhaps if source.with_name(name).exists())]
    try:
        for path in (source, *(source.with_name(name) for name in beside)):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest() if beside else file.read())
        return digest.hexdigest()
    except OSError as problem:
        raise UsageError(f"{source}: cannot be read ({problem.strerror}); give the data set's file") from problem


def _code_fingerprint() -> str:
    """Of every module that has a say in what is written."""
    package = Path(__file__).parents[1]
    events = ("base", "clicks", "inventory", "orders", "reference")
    files = [package / "eventlog.py", package / "logschema.py", *(package / "events" / f"{n}.py" for n in events)]
    for folder in ("imports", "simulation"):
        files += sorted((package / folder).glob("*.py"))
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(package).as_posix()}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _read_marker(out: Path) -> EventLogInfo | None:
    try:
        info = msgspec.json.decode((out / _MARKER).read_bytes(), type=EventLogInfo)
    except (OSError, msgspec.MsgspecError):
        return None
    complete = all((out / f"{topic}.parquet").exists() for topic in info.records)
    return info if complete else None


def _check_replaceable(out: Path) -> None:
    """Refuses to replace what is not ours: a directory with any file that an event log does not have."""
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"{out} is a file; give a directory for the event log")
    ours = {_MARKER, _REPORT} | {f"{topic}.parquet{end}" for topic in TOPIC_TYPES for end in ("", ".partial")}
    if others := sorted(path.name for path in out.iterdir() if path.name not in ours):
        raise UsageError(f"{out} holds {others[0]}, which is no part of an event log; give an empty or new directory")


def _remove_abandoned(out: Path) -> None:
    for left in out.parent.glob(f".{out.name}.partial-*"):
        if time.time() - left.stat().st_mtime > _ABANDONED_AFTER_S:
            shutil.rmtree(left, ignore_errors=True)


def _move(partial: Path, out: Path) -> None:
    old = partial.with_name(f"{partial.name}-old")
    if out.exists():
        out.rename(old)
    partial.rename(out)
    shutil.rmtree(old, ignore_errors=True)
