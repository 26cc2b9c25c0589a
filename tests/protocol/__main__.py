"""The model from the command line: `python -m tests.protocol --depth 30`."""

from __future__ import annotations

import argparse
import sys

from tests.protocol.explore import Search
from tests.protocol.mutations import COMPLETE, DEEP, MUTATIONS
from tests.protocol.world import Rules


def main() -> int:
    """Looks at the protocol, then at each mutation; 1 if something is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.protocol", description=__doc__)
    parser.add_argument("--depth", type=int, help="how many moves from the beginning; else all")
    parser.add_argument("--states", type=int, default=500_000, help="the most states of one search (500000)")
    parser.add_argument("--mutations", action="store_true", help="show how each broken rule is found")
    asked = parser.parse_args()
    held = _mutations(asked.states) if asked.mutations else _protocol(asked.depth, asked.states)
    return 0 if held else 1


def _protocol(depth: int | None, states: int) -> bool:
    held = True
    for setup in (*COMPLETE, *DEEP):
        result = Search(setup, Rules(), depth, states).run()
        print(f"{setup.name}: {result}", flush=True)
        held = held and not result.invariant
    return held


def _mutations(states: int) -> bool:
    held = True
    for mutation in MUTATIONS:
        result = Search(mutation.setup, mutation.rules, max_states=states).run()
        print(f"{mutation.name} ({mutation.setup.name}): {result}\n", flush=True)
        held = held and result.invariant == mutation.breaks
    return held


if __name__ == "__main__":
    sys.exit(main())
