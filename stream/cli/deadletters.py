"""`tidecast dead-letters`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from stream.cli.letters import as_json_of, base64_of, print_letter, summary, table
from stream.cli.options import Bootstrap, Config, Set, loaded
from stream.cli.record import milliseconds
from stream.errors import UsageError

if TYPE_CHECKING:
    from stream.deadletters import Filter, Letter
    from stream.replaysink import ReplaySink
    from stream.settings import KafkaSettings, Settings

dead_letters = typer.Typer(help="Look at records that could not be taken in; send them back.", no_args_is_help=True)

Topic = Annotated[str | None, typer.Option(help="only those read from this topic")]
Stage = Annotated[str | None, typer.Option(help="only those of decode, validate, key, event_time or size")]
Key = Annotated[str | None, typer.Option(help="only those with this record key")]
Since = Annotated[datetime | None, typer.Option(help="only those that became dead letters at this time or later, UTC")]
Until = Annotated[datetime | None, typer.Option(help="only those that became dead letters before this time, UTC")]
Contains = Annotated[str | None, typer.Option(help="only those with this text in the error")]
Json = Annotated[bool, typer.Option("--json", help="as JSON")]

_SHOWN_LETTERS = 100
#: What a replay of these does beside what it says.
_CAVEATS = {
    "catalog": "a record sent back to catalog replaces what is known of its product, also if that is newer",
    "offers": "a record sent back to offers replaces what is known of its offer, also if that is newer",
    "demand": "demand is folded by the position of its order; a record sent back behind newer ones changes nothing",
}


@dead_letters.command("list")
def list_(
    topic: Topic = None,
    stage: Stage = None,
    key: Key = None,
    since: Since = None,
    until: Until = None,
    contains: Contains = None,
    waiting: Annotated[bool, typer.Option("--waiting", help="only those that were not replayed")] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="at most so many, oldest first [default: 100 in a table]")
    ] = None,
    as_json: Json = False,
    config: Config = None,
    flags: Set = None,
    bootstrap: Bootstrap = None,
) -> None:
    """List dead letters, oldest first: where each was read from, why it was not taken in, and whether it was replayed.

    Examples:

        tidecast dead-letters list --waiting

        tidecast dead-letters list --topic orders --stage size --since 2026-06-01 --json
    """
    from stream.deadletters import Filter

    wanted = Filter(topic, stage, key, milliseconds(since), milliseconds(until), contains, waiting=waiting)
    letters = _selected(loaded(config, flags, bootstrap).settings.kafka, wanted)
    if as_json:
        typer.echo(json.dumps([as_json_of(letter) for letter in letters[:limit]], indent=2))
        return
    shown = letters[: limit or _SHOWN_LETTERS]
    if shown:
        Console().print(table(shown))
    typer.echo(summary(letters))
    if len(shown) < len(letters):
        typer.echo(f"the oldest {len(shown):,} are shown; say --limit for more")


@dead_letters.command()
def show(
    place: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="as `list` shows it, such as 0:17")],
    as_json: Json = False,
    config: Config = None,
    flags: Set = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Show one dead letter whole: headers, original key and value, and what can be done about it.

    A value that is JSON is indented, one that is no text is shown as a hex dump; --json has all of its bytes.

    Examples:

        tidecast dead-letters show 0:17

        tidecast dead-letters show 0:17 --json | jq -r .value_base64 | base64 -d
    """
    from stream.deadletters import advice, own_headers, place_of
    from stream.replaysink import fetch

    kafka, at = loaded(config, flags, bootstrap).settings.kafka, place_of(place)
    letter = next((one for one in _read(kafka) if one.place == at), None)
    record = None if letter is None else fetch(kafka, {at}).get(at)
    if letter is None or record is None:
        raise UsageError(f"there is no dead letter at {place}; see `tidecast dead-letters list`")
    told, headers = advice(letter, int(time.time() * 1000)), own_headers(record.headers() or ())
    if as_json:
        more = {
            "headers": {n: v.decode(errors="replace") for n, v in headers},
            "value_base64": base64_of(record.value()),
        }
        typer.echo(json.dumps({**as_json_of(letter), **more, "what_to_do": told}, indent=2))
        return
    print_letter(Console(highlight=False, soft_wrap=True), letter, headers, record.value(), told)


@dead_letters.command()
def replay(
    places: Annotated[
        list[str] | None, typer.Argument(metavar="[PARTITION:OFFSET]...", help="only these; else all that fit")
    ] = None,
    topic: Topic = None,
    stage: Stage = None,
    key: Key = None,
    since: Since = None,
    until: Until = None,
    contains: Contains = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="at most so many, in the order of their topics")
    ] = None,
    to: Annotated[str | None, typer.Option(help="send them to this topic, not to where they came from")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be sent, and send nothing")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False,
    config: Config = None,
    flags: Set = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Send dead letters back to where they were read from: the original key, value and headers.

    Records of one key keep their order. Each gets a header `tidecast-replayed-from`. What was replayed is not sent
    again, by no second run and by none after one that was killed: the record and the mark that it was replayed are one
    transaction. (With worker.delivery at_least_once, and on a broker that shows aborted records, such as the embedded
    one, the records that a killed run sent last may be sent again; it says so.) A replay that is begun stops one that
    is still running.

    Examples:

        tidecast dead-letters replay --stage size --dry-run

        tidecast dead-letters replay 0:17 0:18 --yes
    """
    from stream.deadletters import Filter, in_order, place_of
    from stream.replaysink import ReplayFailed, ReplaySink

    settings = loaded(config, flags, bootstrap).settings
    kafka = settings.kafka
    chosen = frozenset(place_of(text) for text in places or ())
    wanted = Filter(topic, stage, key, milliseconds(since), milliseconds(until), contains, chosen, waiting=True)
    sink = None if dry_run else ReplaySink(kafka)
    try:
        if sink is not None:
            _have(kafka)
            sink.open()  # before reading: from here on nobody else can send any of them
        letters = in_order(_selected(kafka, wanted))[:limit]
        if not letters:
            typer.echo("nothing to replay: no dead letter that fits is waiting")
            return
        _check_targets(kafka, letters, to)
        Console().print(table(letters[:_SHOWN_LETTERS]))
        typer.echo(f"{summary(letters)}; to {', '.join(_targets(letters, to))}")
        if sink is not None:
            _confirm(settings, letters, to, yes)
            _send(kafka, sink, letters, to)
    except ReplayFailed as error:
        Console(stderr=True).print(f"[bold red]not finished[/]: {escape(str(error))}; see what is left with `list`")
        raise typer.Exit(1) from error


def _have(kafka: KafkaSettings) -> Sequence[str]:
    """The broker's topics."""
    from stream.admin import connect

    return tuple(connect(kafka)[1])


def _read(kafka: KafkaSettings) -> list[Letter]:
    from stream.deadletters import read_letters

    _have(kafka)
    return read_letters(kafka)


def _selected(kafka: KafkaSettings, wanted: Filter) -> list[Letter]:
    return [letter for letter in _read(kafka) if wanted.has(letter)]


def _targets(letters: Sequence[Letter], to: str | None) -> list[str]:
    return [to] if to else sorted({letter.topic or "" for letter in letters})


def _check_targets(kafka: KafkaSettings, letters: Sequence[Letter], to: str | None) -> None:
    """That every letter has somewhere to go."""
    lost = [str(letter.place) for letter in letters if letter.topic is None]
    if lost and to is None:
        raise UsageError(
            f"{', '.join(lost[:5])}: these do not say where they were read from; name a topic with --to, or leave them "
            "out with --topic"
        )
    missing = sorted(set(_targets(letters, to)) - set(_have(kafka)))
    if missing:
        raise UsageError(f"there is no topic {', '.join(missing)}; make it, or name another with --to")


def _confirm(settings: Settings, letters: Sequence[Letter], to: str | None, yes: bool) -> None:
    """Says what it means, and asks."""
    for target in _targets(letters, to):
        if target in _CAVEATS:
            typer.echo(f"note: {_CAVEATS[target]}")
    if not _isolated(settings):
        typer.echo("note: at least once: if this is killed, the records that it sent last may be sent again")
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nothing was sent; say --yes, since there is no terminal to ask at")
    typer.confirm(f"send {len(letters):,} records?", abort=True)


def _isolated(settings: Settings) -> bool:
    """Whether readers see a record only together with its mark."""
    from stream.admin import hides_aborted

    return settings.worker.delivery != "at_least_once" and hides_aborted(settings.kafka)


def _send(kafka: KafkaSettings, sink: ReplaySink, letters: Sequence[Letter], to: str | None) -> None:
    from stream.replaysink import replay as run

    done = 0
    with Console(stderr=True).status("replaying …") as status:
        for sent in run(kafka, sink, letters, to):
            done += sent
            status.update(f"replaying: {done:,} of {len(letters):,} records")
    typer.echo(f"replayed {done:,} record{'s' if done != 1 else ''}")
