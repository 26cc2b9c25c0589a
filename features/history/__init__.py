"""History: what the views said of an entity at a time in the past, from an event log; rows for training.

A spine says for whom and as of when. The events of its entities are gathered from the log, put in the order in which
they are folded, and folded up to each spine row by the views' own code (`features.pointintime`). Memory is bounded:
what does not fit is parted by entity into shards on disk, and done shard after shard.

Files, in the order in which data passes: spine, gather, answer, output.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from features.history.answer import answer, answer_type, first_of_its_id
from features.history.asked import ROW_BYTES, Asked, By, HistoryError, Progress, Told, quiet
from features.history.gather import Gathered, gather
from features.history.output import Answers, check_names, write
from features.history.spine import Spine, read_spine
from features.logfile import CHUNK_BYTES, estimated_rows, topic_file
from features.logrows import TOPIC_OF
from features.view import REPARTITIONED, View

__all__ = ["Asked", "By", "HistoryError", "Progress", "Told", "history"]


def history(events: Path, spine: Path, out: Path, asked: Asked, progress: Progress = quiet) -> Told:
    """Writes a spine's rows with the columns of views as of each row's time.

    Args:
        events: an event log.
        spine: parquet, CSV or JSONL.
        out: the parquet file to make; it appears only when it is complete.
        asked: which columns, and which events a row sees.
        progress: told about each step.

    Raises:
        FileNotFoundError: the log lacks a topic that a view is made of.
        EventLogError, HistoryError: what is wrong in the log, or in the spine.
    """
    if not asked.views:
        raise HistoryError("no view is asked for")
    if out.exists() and spine.exists() and out.samefile(spine):
        raise HistoryError(f"{out} is the spine itself; write the rows to another file")
    _keep_logs(events, out, asked)
    entities = sorted({view.entity for view in asked.views})
    files = {topic: topic_file(events, topic) for topic in sorted({TOPIC_OF[v.stream] for v in asked.views})}
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        read = read_spine(spine, entities, Path(scratch), asked.include_equal)
        groups = [tuple(v for v in asked.views if v.entity == entity) for entity in entities]
        check_names(read, [answer_type(views, asked.sequences) for views in groups])
        told = Told(rows=len(read))
        answers = [_answers(files, read, views, asked, Path(scratch), told, progress) for views in groups]
        write(read, answers, out, progress)
    return told


def _keep_logs(events: Path, out: Path, asked: Asked) -> None:
    for topic in {TOPIC_OF[view.stream] for view in asked.views}:
        if out.exists() and out.samefile(topic_file(events, topic)):
            raise HistoryError(f"{out} is the log's own file of topic {topic!r}; write the rows to another file")


def _answers(
    files: dict[str, Path],
    spine: Spine,
    views: Sequence[View],
    asked: Asked,
    scratch: Path,
    told: Told,
    progress: Progress,
) -> Answers:
    """The answers of all views of one kind of entity."""
    entity = views[0].entity
    asking, kind = spine.asking[entity], answer_type(views, asked.sequences)
    streams = sorted({view.stream for view in views})
    topics = {TOPIC_OF[stream] for stream in streams}
    record_bytes = len(asking.keys) * max(view.dtype.itemsize for view in views)
    fixed_rows = (record_bytes + len(spine) * (kind.itemsize + 64)) // ROW_BYTES
    expected = sum(estimated_rows(files[t], t) * sum(TOPIC_OF[s] == t for s in streams) for t in topics)
    gathered = Gathered(scratch, ceil((expected + fixed_rows) / asked.memory_rows), asked.memory_rows)
    told.events |= gather(files, streams, asking.keys, gathered, asked, progress, _chunk_bytes(asked))
    if gathered.spilled:
        gathered.spill()
    else:
        gathered.shards = max(1, ceil((gathered.rows + fixed_rows) / asked.memory_rows))
        if gathered.shards > 1:
            gathered.spill()
    told.shards[entity] = gathered.shards
    out = Answers(kind, scratch / f"{entity}-answers" if gathered.shards > 1 else None)
    for shard in range(gathered.shards):
        progress(f"folding {entity}s", shard / gathered.shards)
        rows = np.flatnonzero(asking.number % gathered.shards == shard)
        out.add(rows, _shard(gathered, shard, spine, rows, views, asked, told))
    return out


def _chunk_bytes(asked: Asked) -> int:
    return max(1_000_000, min(CHUNK_BYTES, asked.memory_rows * ROW_BYTES // 8))


def _shard(
    gathered: Gathered,
    shard: int,
    spine: Spine,
    rows: NDArray[np.int64],
    views: Sequence[View],
    asked: Asked,
    told: Told,
) -> NDArray[np.void]:
    out = np.zeros(len(rows), answer_type(views, asked.sequences))
    number = spine.asking[views[0].entity].number[rows] // gathered.shards
    counted: dict[str, int] = {}
    for stream in sorted({view.stream for view in views}):
        found = gathered.take(stream, shard)
        first = first_of_its_id(found)
        if not first.all():
            again = found["event"][~first]
            # The lines of an event are of several items, and so in several shards: there they are counted themselves.
            counted[TOPIC_OF[stream]] = len(again if stream in REPARTITIONED else np.unique(again))
            found = {name: column[first] for name, column in found.items() if len(column)}
        answer(asked, [v for v in views if v.stream == stream], found, number, spine.as_of_ms[rows], out)
    for topic, count in counted.items():
        told.duplicates[topic] = told.duplicates.get(topic, 0) + count
    for view in views:
        missing = int((out[f"{view.name}__version"] == 0).sum())
        told.missing[view.name] = told.missing.get(view.name, 0) + missing
    return out
