"""`tidecast lag`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from stream.cli.options import Bootstrap, Config, Set, StoreUrl, loaded
from stream.errors import UsageError

if TYPE_CHECKING:
    from stream.groupstate import GroupState, Member
    from stream.lag import Lag, PartitionLag, Stored
    from stream.settings import Settings
    from stream.source import Partition

_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))


def lag(
    as_json: Annotated[bool, typer.Option("--json", help="as JSON; with --watch a line each time")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="measure again and again, until Ctrl-C")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="seconds between two looks of --watch")] = 2.0,
    max_lag: Annotated[
        int | None, typer.Option(min=0, help="exit code 1 if more records than this wait in a partition")
    ] = None,
    max_age: Annotated[
        float | None,
        typer.Option(min=0, help="exit code 1 if records wait and event time is more seconds than this behind"),
    ] = None,
    config: Config = None,
    flags: Set = None,
    bootstrap: Bootstrap = None,
    store_url: StoreUrl = None,
) -> None:
    """Show how far the workers are behind, by input partition; also while none runs.

    K is the offset that the group has committed: all before it is published. R is the fence: all before it is in the
    store. A worker that takes a partition over begins at the lesser of the two. Lag is counted from K to the end, in
    records: the marks with which transactions end take offsets, too, and are not counted up to 5,000 of them.

    Event time is the watermark, as a worker has last written it down; "behind" is from there to now, which is large
    where history is replayed or nothing comes. Exit codes: 0, 1 where --max-lag or --max-age is exceeded, 2 wrong
    input, or no answer from the broker (or from the store, where --max-age asks for it).

    Examples:

        tidecast lag --watch

        tidecast lag --max-lag 10000 --max-age 300 --json
    """
    from stream.groupstate import GroupState
    from stream.lag import exceeded

    settings = loaded(config, flags, bootstrap, store_url).settings
    state = GroupState(settings.kafka)
    try:
        if watch:
            _watch(settings, state, every, as_json)
            return
        found, trouble = _look(settings, state)
    finally:
        state.close()
    if trouble and max_age is not None:
        raise UsageError(trouble)
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        Console().print(_shown(found, trouble))
    beyond = exceeded(found, max_lag, max_age)
    for line in beyond:
        typer.echo(line, err=True)
    if beyond:
        raise typer.Exit(1)


def _look(settings: Settings, state: GroupState) -> tuple[Lag, str]:
    """What is found, and what is wrong with the store: without it the broker's part is told all the same."""
    from stream.cli.stores import opened
    from stream.lag import measure, stored

    trouble = ""

    def look(places: Collection[Partition]) -> Mapping[Partition, Stored] | None:
        nonlocal trouble
        try:
            with opened(settings.store) as store:
                return stored(store, places)
        except UsageError as error:
            trouble = str(error)
            return None

    return measure(state, settings.kafka.group_id, look, int(time.time() * 1000)), trouble


def _watch(settings: Settings, state: GroupState, every_s: float, as_json: bool) -> None:
    """Until Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt):
        if as_json:
            while True:
                typer.echo(msgspec.json.encode(_look(settings, state)[0]).decode())
                time.sleep(every_s)
        with Live(console=Console(), auto_refresh=False, screen=False) as live:
            while True:
                live.update(_shown(*_look(settings, state)), refresh=True)
                time.sleep(every_s)


def _shown(found: Lag, trouble: str) -> Group:
    """The table, the totals, and what needs a person."""
    table = Table(box=None, header_style="dim")
    for title in ("partition", "end", "K", "R", "lag", "event time (UTC)", "behind", "written", "epoch", "owner"):
        left = title in ("partition", "owner", "event time (UTC)")
        table.add_column(title, justify="left" if left else "right", no_wrap=title != "owner")
    # The embedded broker names no members: that is not to say that there are none.
    nobody = "–" if found.state == "stable" and not found.members else "nobody"
    for one in found.partitions:
        table.add_row(*map(escape, _cells(one)), nobody if one.owner is None else escape(_owner(one.owner)))
    lines = [_totals(found), *_notes(found)]
    if trouble:
        lines.append(f"[yellow]R, event time and epoch are not known: {escape(trouble)}[/]")
    return Group(table, *(Text.from_markup(line) for line in lines))


def _cells(one: PartitionLag) -> list[str]:
    held = one.stored
    lag = f"{one.lag:,}" if one.counted else f"≤ {one.lag:,}"
    folded, event_ms, epoch = (held.folded_to, held.event_time_ms, held.epoch) if held else (None, None, None)
    return [
        one.name,
        f"{one.end:,}",
        _number(one.committed),
        _number(folded),
        lag,
        "–" if event_ms is None else datetime.fromtimestamp(event_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S"),
        _span(one.behind_ms),
        "–" if one.clock_age_ms is None else f"{_span(one.clock_age_ms)} ago",
        _number(epoch),
    ]


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _span(ms: int | None) -> str:
    """A time, in the unit that suits it."""
    if ms is None:
        return "–"
    of, unit = next(((of, unit) for of, unit in _UNITS if abs(ms) >= of), _UNITS[-1])
    return f"{ms / of:,.1f} {unit}"


def _owner(member: Member) -> str:
    return f"{member.instance_id or member.client_id} {member.host}"


def _totals(found: Lag) -> str:
    behind = "" if found.behind_ms is None else f", event time at most {_span(found.behind_ms)} behind there"
    members = f"{found.members} member{'s' if found.members != 1 else ''}"
    if found.state == "stable" and not found.members:
        members = "members not told by the broker"
    return (
        f"group {escape(found.group)}: {escape(found.state)}, {members}, protocol {escape(found.protocol)}; "
        f"{found.lag:,} records wait{behind}"
    )


def _notes(found: Lag) -> list[str]:
    """What a person should look at."""
    notes = []
    unowned = [one.name for one in found.partitions if one.owner is None and one.lag]
    if unowned and found.members:
        notes.append(f"records wait in partitions that nobody has: {', '.join(unowned)}")
    for one in found.partitions:
        folded = None if one.stored is None else one.stored.folded_to or 0
        if folded is not None and one.committed is not None and folded < one.committed:
            notes.append(
                f"{one.name}: the store has lost events (R is before K); the next worker that takes it over folds "
                f"{one.committed - folded:,} offsets again and publishes none of them again"
            )
        if one.lost:
            notes.append(
                f"[bold red]{escape(one.name)}: {one.lost:,} offsets that are needed are gone from Kafka[/]: its "
                "retention is over; see docs/operations.md"
            )
    return [note if note.startswith("[bold") else f"[yellow]{escape(note)}[/]" for note in notes]
