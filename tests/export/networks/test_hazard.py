from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from export.networks.hazard import HazardNet, likelihood
from models.session import Session

ROWS, WIDTH = 300, 9


def features(seed: int = 0) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    rng = np.random.default_rng(seed)
    x = rng.lognormal(0.0, 1.5, (ROWS, WIDTH)).astype(np.float32)
    x[:, 0], x[:, 1] = rng.integers(0, 15, ROWS), rng.integers(0, 7, ROWS)
    x[rng.random(x.shape) < 0.1] = np.nan
    return x


def network(seed: int = 0) -> HazardNet:
    torch.manual_seed(seed)
    made = HazardNet(WIDTH, hidden=(32, 16))
    made.learn(features())
    return made.eval()  # type: ignore[no-any-return]


@pytest.mark.parametrize("seed", range(3))
def test_contributions_add_up_to_the_cumulative_hazard(seed: int) -> None:
    net, x = network(seed), features(seed)
    with torch.no_grad():
        hazards, parts = (found.double().numpy() for found in net(torch.from_numpy(x)))
    score = -np.log1p(-hazards).sum(axis=1)
    assert np.abs(parts.sum(axis=1) + net.baseline - score).max() < 1e-5


def test_there_is_no_risk_after_closing_time() -> None:
    x = features()
    x[:, 0] = np.resize(np.arange(12, 16), ROWS)
    with torch.no_grad():
        hazards = network()(torch.from_numpy(x))[0].numpy()
    assert (hazards[:4] > 0).sum(axis=1).tolist() == [3, 2, 1, 0]
    assert (hazards[0] > 0).tolist() == [True, True, True, False]


def test_a_planted_cause_is_the_first_reason() -> None:
    rng = np.random.default_rng(1)
    x = np.nan_to_num(features(1), nan=1.0)
    x[:, 5] = rng.choice([0.0, 30.0], ROWS)
    out = torch.from_numpy(np.repeat((x[:, 5:6] > 0).astype(np.float32), 4, axis=1))
    net = HazardNet(WIDTH, hidden=(16, 8))
    net.learn(x)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    rows = torch.from_numpy(x)
    for _ in range(150):
        optimiser.zero_grad()
        likelihood(net.logits(rows), out, net.open(rows).T).backward()
        optimiser.step()
    with torch.no_grad():
        parts = net(rows)[1].numpy()
    assert (np.abs(parts).argmax(axis=1) == 5).mean() > 0.95


def test_an_item_that_is_out_is_at_no_risk() -> None:
    out = torch.tensor([[0.0, 1.0, 1.0, 1.0]])
    one, other = (torch.tensor([[0.5, 0.5, late, late]]) for late in (0.5, 9.0))
    open_ = torch.ones(1, 4)
    assert float(likelihood(one, out, open_)) == float(likelihood(other, out, open_))
    expected = (np.log1p(np.exp(0.5)) + np.log1p(np.exp(-0.5))) / 2
    assert float(likelihood(one, out, open_)) == pytest.approx(expected, rel=1e-6)


def test_the_graph_says_the_same_for_any_row(tmp_path: Path) -> None:
    net, x = network(), features()
    path = tmp_path / "hazard.onnx"
    rows = {0: torch.export.Dim("n", min=1, max=1_000_000)}
    program = torch.onnx.export(
        net,
        (torch.from_numpy(x),),
        dynamo=True,
        opset_version=18,
        input_names=["features"],
        output_names=["hazards", "contributions"],
        dynamic_shapes=(rows,),
        verbose=False,
    )
    onnx.save(program.model_proto, path)
    session = Session(path)
    hostile = [np.full((2, WIDTH), value, np.float32) for value in (np.nan, 0.0, 1e30, -1e30, np.inf)]
    for given in (x, x[:1], *hostile):
        with torch.no_grad():
            expected = [found.numpy() for found in net(torch.from_numpy(given))]
        got = session.run({"features": given}, len(given))
        assert np.isfinite(got["hazards"]).all() == (not np.isnan(given).all())
        assert np.isfinite(got["contributions"]).all()
        assert np.allclose(got["hazards"], expected[0], atol=1e-6, equal_nan=True)
        assert np.allclose(got["contributions"], expected[1], atol=1e-4)


def test_what_others_tell_takes_the_place_of_what_happened_only_at_risk() -> None:
    """The best answer is what was told; after it ran out nothing is asked."""
    out, open_ = torch.tensor([[0.0, 1.0, 1.0, 1.0]]), torch.ones(1, 4)
    told = torch.tensor([[0.2, 0.7, 0.9, 0.9]])
    logits = torch.logit(told).requires_grad_()
    likelihood(logits, out, open_, told).backward()
    assert torch.allclose(logits.grad, torch.zeros(1, 4), atol=1e-6)
    other = torch.zeros(1, 4, requires_grad=True)
    likelihood(other, out, open_, told).backward()
    assert (other.grad[0] != 0).tolist() == [True, True, False, False]
