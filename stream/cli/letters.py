"""How dead letters are printed: what others wrote without its control characters, which could steer a terminal."""

from __future__ import annotations

import base64
import contextlib
import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from stream.deadletters import Letter

_SHOWN_BYTES = 4_096


def summary(letters: Sequence[Letter]) -> str:
    """How many, and of what."""
    if not letters:
        return "no dead letters that fit"
    kinds = Counter((letter.topic or "unknown", letter.stage) for letter in letters)
    told = ", ".join(f"{topic} {stage} {n:,}" for (topic, stage), n in sorted(kinds.items()))
    waiting = sum(letter.replayed_to is None for letter in letters)
    return f"{len(letters):,} dead letter{'s' if len(letters) != 1 else ''} ({told}), {waiting:,} not replayed"


def table(letters: Sequence[Letter]) -> Table:
    """A line a letter."""
    out = Table(box=None, header_style="dim")
    for title in ("letter", "read from", "stage", "error", "key", "bytes", "when (UTC)", "replayed to"):
        out.add_column(title, overflow="fold", no_wrap=title in ("letter", "when (UTC)"))
    for one in letters:
        size = "–" if one.value_bytes is None else f"{one.value_bytes:,}"
        cells = (str(one.place), one.origin, one.stage, one.error, _text(one.key), size, _when(one.time_ms))
        out.add_row(*(escape(_plain(cell)) for cell in cells), escape(one.replayed_to or ""))
    return out


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _when(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _text(key: bytes | None) -> str:
    """A key for people: its text, or its bytes as hexadecimal digits."""
    if key is None:
        return "–"
    try:
        return key.decode()
    except UnicodeDecodeError:
        return f"0x{key.hex()}"


def base64_of(value: bytes | None) -> str | None:
    """All bytes of a value, as JSON can carry them."""
    return None if value is None else base64.b64encode(value).decode()


def as_json_of(letter: Letter) -> dict[str, Any]:
    """A letter as a JSON object, without its value."""
    return {
        "letter": str(letter.place),
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "stage": letter.stage,
        "error": letter.error,
        "key": None if letter.key is None else _text(letter.key),
        "value_bytes": letter.value_bytes,
        "time_ms": letter.time_ms,
        "replayed_to": letter.replayed_to,
    }


def print_letter(
    console: Console, letter: Letter, headers: Sequence[tuple[str, bytes]], value: bytes | None, told: str
) -> None:
    """All of a letter; `told` is what can be done about it."""
    console.print(
        f"[bold]dead letter {letter.place}[/], read from {escape(_plain(letter.origin))}, {_when(letter.time_ms)} UTC"
    )
    console.print(f"[bold]{escape(_plain(letter.stage))}[/]: {escape(_plain(letter.error))}")
    console.print(f"key: {escape(_plain(_text(letter.key)))}")
    for name, content in headers:
        console.print(f"header {escape(_plain(name))}: {escape(_plain(_text(content)))}")
    console.print(f"value, {0 if value is None else len(value):,} bytes:")
    console.print(escape(_plain(_pretty(value))))
    console.print(f"[bold]what to do[/]: {escape(told)}")
    if letter.replayed_to is None:
        console.print(f"  tidecast dead-letters replay {letter.place}", style="dim")


def _pretty(value: bytes | None) -> str:
    """JSON indented, other text as it is, anything else as a hex dump; the beginning, where it is long."""
    if value is None:
        return "(none)"
    try:
        text = value.decode()
        with contextlib.suppress(ValueError, RecursionError):
            text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
        more = f"\n… ({len(text) - _SHOWN_BYTES:,} more characters)" if len(text) > _SHOWN_BYTES else ""
        return text[:_SHOWN_BYTES] + more
    except UnicodeDecodeError:
        more = f"\n… ({len(value) - _SHOWN_BYTES:,} more bytes)" if len(value) > _SHOWN_BYTES else ""
        return _hex(value[:_SHOWN_BYTES]) + more


def _hex(value: bytes) -> str:
    lines = []
    for at in range(0, len(value), 16):
        row = value[at : at + 16]
        text = "".join(chr(b) if 32 <= b < 127 else "." for b in row)
        lines.append(f"{at:08x}  {row.hex(' '):47}  {text}")
    return "\n".join(lines)
