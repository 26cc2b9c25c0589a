"""Two releases of a model side by side: CPU time a row, calls in turn, so that a slow machine slows both.

git archive TAG models/artifacts/stockout/0.9.0 | tar -x -C old
python -m benchmarks.graphs old/models/artifacts/stockout/0.9.0 models/artifacts/stockout/0.9.2
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import models.session
from models.manifest import read_manifest
from models.session import MOST_ROWS, Session

_SHARED = {
    "reorder": frozenset({"words", "place", "age_days"}),
    "stockout": frozenset({"service_level"}),
    "next_best_offer": frozenset({"words", "offer_words", "offer_numbers", "offer_sold", "offer_product"}),
}


def rows_of(directory: Path, rows: int, left_out: set[str]) -> tuple[dict[str, NDArray[Any]], frozenset[str]]:
    """The golden inputs of a release again and again, up to so many rows; and which are no row each."""
    golden = np.load(directory / "golden.npz")
    shared = _SHARED.get(read_manifest(directory).task, frozenset())
    inputs = {name[3:]: golden[name] for name in golden.files if name.startswith("in.") and name[3:] not in left_out}
    more = {name: np.resize(array, (rows, *array.shape[1:])) for name, array in inputs.items() if name not in shared}
    return inputs | more, shared & inputs.keys()


def seconds(session: Session, inputs: dict[str, NDArray[Any]], rows: int, shared: frozenset[str]) -> float:
    """CPU time of a call, in this thread."""
    begun = time.thread_time()
    session.run(inputs, rows, shared)
    return time.thread_time() - begun


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, help="directory of a release")
    parser.add_argument("new", type=Path, help="directory of another of the same model")
    parser.add_argument("--rows", type=int, default=4096, help="of a call")
    parser.add_argument("--calls", type=int, default=40, help="of each")
    parser.add_argument("--leave-out", nargs="*", default=[], help="inputs with rows of their own, of both")
    parser.add_argument("--leave-out-of-new", nargs="*", default=[], help="inputs that the old one does not have")
    parser.add_argument("--parts", nargs=2, type=int, default=[MOST_ROWS] * 2, help="rows that each is asked at once")
    asked = parser.parse_args()
    made = []
    for directory, more in ((asked.old, []), (asked.new, asked.leave_out_of_new)):
        inputs, shared = rows_of(directory, asked.rows, {*asked.leave_out, *more})
        made.append((Session(directory / "model.onnx"), inputs, asked.rows, shared))

    def in_turn(call: int) -> list[float]:
        found = [0.0, 0.0]
        for at in (0, 1) if call % 2 else (1, 0):  # the second of two is a few percent faster, whichever it is
            models.session.MOST_ROWS = asked.parts[at]
            found[at] = seconds(*made[at])
        return found

    in_turn(0)  # memory is planned at the first call of a shape
    spent = np.array([in_turn(call) for call in range(asked.calls)]) / asked.rows * 1e6
    for what, (old, new) in (("best", spent.min(axis=0)), ("median", np.median(spent, axis=0))):
        print(f"{what}: {old:.2f} and {new:.2f} µs a row, {new / old:.2f} times")


if __name__ == "__main__":
    main()
