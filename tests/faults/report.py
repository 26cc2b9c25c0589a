"""The report: what people see of a suite, and `faults.json`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.faults.run import Result
from tests.faults.suite import Suite

#: Columns of the report, by the kind of problem that they count.
_COUNTED = {
    "lost": "lost",
    "duplicated": "duplicated",
    "state_mismatches": "state",
    "score_mismatches": "score",
    "alert_mismatches": "alert",
    "dead_letter_mismatches": "dead letter",
    "hangs": "hang",
    "crashes": "crash",
}


def report(suite: Suite) -> dict[str, Any]:
    """All that came of a suite, as `faults.json` has it."""
    every = [*suite.references.values(), *suite.results]
    failed = [r for r in every if r.problems]
    struck = sum((r.struck for r in suite.results), Counter[str]())
    return {
        "runs": len(suite.results),
        "failed": sum(1 for r in suite.results if r.problems),
        "faults": dict(sorted(struck.items())),
        **{name: sum(r.count(kind) for r in every) for name, kind in _COUNTED.items()},
        "broker": suite.broker,
        "protocols": dict(sorted(Counter(r.plan.protocol for r in suite.results).items())),
        "void": [_failure(r) for r in suite.void],
        "undisturbed_failed": sum(1 for r in suite.references.values() if r.problems),
        "failures": [_failure(r) for r in failed],
    }


def _failure(result: Result) -> dict[str, Any]:
    problems = [{"kind": p.kind, "what": p.what, "count": p.count} for p in result.problems]
    return {**result.plan.told(), "problems": problems, "logs": str(result.directory)}


def write_report(suite: Suite, path: Path) -> None:
    """Writes `faults.json`."""
    path.write_text(json.dumps(report(suite), indent=2) + "\n")


def told(result: Result) -> str:
    """One line of a run."""
    plan = result.plan
    faults = ", ".join(fault.kind for _, fault in plan.faults) or "nothing"
    what = f"seed {plan.seed}: {faults}" if plan.faults else f"undisturbed, variant {plan.variant}"
    return f"{what} ({plan.protocol}, {plan.workers} workers, {result.seconds:.1f} s)"


def explained(result: Result) -> list[str]:
    """Why a run failed, and how to see it again."""
    lines = [f"  {p.kind}: {p.what}" for p in result.problems]
    if result.plan.faults:
        lines.append(f"  again: {result.plan.replay}")
    return [*lines, f"  logs: {result.directory}"]


def summary(results: Sequence[Result]) -> str:
    """The last line."""
    failed = [r.plan.seed for r in results if r.problems]
    if not failed:
        return f"{len(results)} runs, all as if nothing had happened"
    return f"{len(failed)} of {len(results)} runs failed: seeds {', '.join(map(str, failed))}"
