"""A fixed set of runs that has every kind of fault and every step at which one strikes; and protocols that are broken.

All runs are made at once, several at a time, by the first test that asks; each test looks at one of them.
`make faults` runs as many as you like.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from stream.errors import UsageError
from tests.brokers import Brokers, Guarantee
from tests.faults.fault import Fault
from tests.faults.kinds.workers import KilledAtStep, Zombie
from tests.faults.mutations import COMMITTED_FIRST, FENCED_FIRST
from tests.faults.plan import Plan, covering, undisturbed
from tests.faults.report import explained
from tests.faults.run import Result
from tests.faults.suite import Options, Suite, default_lanes
from tests.support import differing, folded_from_log, whole

pytestmark = pytest.mark.timeout(900)

PLANS = covering()

#: Where each broken protocol shows: in one run at least, since it takes the right micro-batch to be hit.
MUTATIONS: dict[str, tuple[Fault, ...]] = {
    "no-fence-check": (Zombie("scored", 3, 0.0), Zombie("named", 2, 0.5)),
    "commit-before-write": (KilledAtStep(COMMITTED_FIRST, 1, 0.0), KilledAtStep(COMMITTED_FIRST, 4, 0.0)),
    "fence-before-states": (KilledAtStep(FENCED_FIRST, 1, 0.0), KilledAtStep(FENCED_FIRST, 4, 0.0)),
    "folds-again": (KilledAtStep("written", 2, 0.0), KilledAtStep("produced", 4, 0.0)),
    "offsets-outside-the-transaction": (KilledAtStep("committed", 2, 0.0), KilledAtStep("committed", 4, 0.0)),
}


def broken(mutation: str) -> list[Plan]:
    plain = replace(undisturbed(0), batch_max_records=60, traffic_s=1.5)
    return [
        replace(plain, seed=-100 - n, workers=fault.workers, faults=((0.1, fault),), mutation=mutation)
        for n, fault in enumerate(MUTATIONS[mutation])
    ]


@pytest.fixture(scope="module")
def suite(brokers: Brokers, tmp_path_factory: pytest.TempPathFactory) -> Suite:
    brokers.require_processes(Guarantee.FAULTS)
    plans = [*PLANS, *(plan for mutation in MUTATIONS for plan in broken(mutation))]
    suite = Suite(Options(tmp_path_factory.mktemp("faults"), default_lanes()), plans)
    try:
        suite.run()
    except UsageError as error:
        brokers.lack([Guarantee.FAULTS], str(error))
    void = f", {len(suite.void)} of them again: Kafka left out markers" if suite.void else ""
    brokers.ran.append(f"{suite.broker}: {len(suite.results)} runs with faults{void}")
    return suite


def result_of(suite: Suite, plan: Plan) -> Result:
    return next(r for r in suite.results if r.plan == plan)


def why(result: Result) -> str:
    return "\n".join([str(result.plan.told()), *explained(result)])


@pytest.mark.parametrize("plan", PLANS, ids=lambda p: f"{p.seed}:" + "+".join(f.face for _, f in p.faults))
def test_a_run_with_faults_ends_as_if_nothing_had_happened(suite: Suite, plan: Plan) -> None:
    result = result_of(suite, plan)
    assert not result.problems, why(result)


def test_every_kind_of_fault_has_struck(suite: Suite) -> None:
    struck = {kind for result in suite.results for kind in result.struck}
    assert struck == {fault.kind for plan in PLANS for _, fault in plan.faults}


def test_undisturbed_runs_have_nothing_wrong_and_end_as_their_logs_fold(suite: Suite) -> None:
    for variant, reference in suite.references.items():
        assert not reference.problems, why(reference)
        assert reference.outcome is not None
        assert differing(whole(reference.outcome.features), folded_from_log(suite.variants[variant].log)) == {}


def test_scores_age_in_some_runs(suite: Suite) -> None:
    for result in suite.references.values():
        assert result.outcome is not None
        scores = [json.loads(s.value or b"{}") for s in result.outcome.records["reorder-scores"]]
        aged = [s for s in scores if s["as_of_ms"] > max(s["feature_time_ms"].values())]
        assert len(aged) > 20 if result.plan.ages else not aged


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_broken_protocol_is_found(suite: Suite, mutation: str) -> None:
    found = [result_of(suite, plan) for plan in broken(mutation)]
    assert any(p.kind not in ("hang", "crash") for result in found for p in result.problems), f"{mutation} went unseen"
