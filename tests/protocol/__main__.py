"""The model from the command line: `python -m tests.protocol --states 3000000`."""

from __future__ import annotations

import argparse
import sys

from tests.protocol.explore import Result, Search
from tests.protocol.mutations import COMPLETE, DEEP, MUTATIONS
from tests.protocol.world import Rules


def main() -> int:
    """Looks at the protocol, or at each mutation; 1 if something is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.protocol", description=__doc__)
    parser.add_argument("--depth", type=int, help="how many moves from the beginning; else all")
    parser.add_argument("--states", type=int, default=500_000, help="the most states, of all searches (500000)")
    parser.add_argument("--only", default="", help="setups, or mutations, with this in their names")
    parser.add_argument("--mutations", action="store_true", help="show how each broken rule is found")
    asked = parser.parse_args()
    look = _mutations if asked.mutations else _protocol
    return 0 if look(asked.only, asked.depth, asked.states) else 1


def _protocol(only: str, depth: int | None, states: int) -> bool:
    setups = [s for s in (*COMPLETE, *DEEP) if only in s.name]
    results: list[Result] = []
    for setup in setups:
        share = (states - sum(r.states for r in results)) // (len(setups) - len(results))
        results.append(Search(setup, Rules(), depth, share).run())
        print(f"{setup.name}: {results[-1]}", flush=True)
    broken = sum(bool(r.invariant) for r in results)
    print(f"{sum(r.states for r in results):,} states, {sum(r.seconds for r in results):.0f} s, {broken} violations")
    return not broken


def _mutations(only: str, depth: int | None, states: int) -> bool:
    held = True
    for mutation in (m for m in MUTATIONS if only in m.name):
        result = Search(mutation.setup, mutation.rules, depth, states).run()
        print(f"{mutation.name} ({mutation.setup.name}): {result}\n", flush=True)
        held = held and result.invariant == mutation.breaks
    return held


if __name__ == "__main__":
    sys.exit(main())
