"""Chords: right where the two ends are far apart, near each other, and the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from export.networks.preprocess import softplus
from export.networks.rescaled import NEAR, Rescaled, chord, moved

CHANGES = torch.tensor([0.0, 1e-9, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 9e-3, 1.1e-2, 0.1, 1.0])


@pytest.mark.parametrize("reference", [-6.0, -3.0, 0.0, 2.0])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_of_a_smooth_function_it_is_what_double_precision_says(reference: float, sign: float) -> None:
    """Where a row is as likely as the reference, one feature may speak for it and another against it all the same."""
    at, change = torch.tensor(reference), sign * CHANGES
    found = chord(softplus, at, change, torch.sigmoid, NEAR)
    exact, wide = torch.sigmoid(at.double()).expand(len(change)).clone(), CHANGES > 1e-9
    apart = change.double()[wide]
    exact[wide] = (F.softplus(at.double() + apart) - F.softplus(at.double())) / apart
    torch.testing.assert_close(found.double(), exact, rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize(("reference", "slope"), [(0.5, 1.0), (-0.5, 0.0)])
def test_near_its_reference_a_rectifier_moves_as_the_slope_there(reference: float, slope: float) -> None:
    change = -CHANGES[:10]
    assert moved(change, torch.tensor([reference])).tolist() == (slope * change).tolist()


@pytest.mark.parametrize("reference", [-3.0, -1e-3, -1e-9, 0.0, 1e-9, 1e-3, 3.0])
def test_a_rectifier_moves_as_it_does_in_double_precision(reference: float) -> None:
    change = torch.cat([-CHANGES, CHANGES, torch.tensor([-50.0, 50.0])])
    found, at = moved(change, torch.tensor([reference])).double(), torch.tensor([reference]).double()
    torch.testing.assert_close(found, torch.relu(at + change.double()) - torch.relu(at), rtol=1e-6, atol=3e-7)
    assert ((found * change >= 0) & (found.abs() <= change.abs())).all()


def test_contributions_add_up_for_rows_at_and_near_the_reference() -> None:
    torch.manual_seed(1)
    network = Rescaled((6, 16, 8, 2)).eval()
    inputs: Any = torch.randn(400, 6) * torch.logspace(-7, 0, 400)[:, None]
    with torch.no_grad():
        moves, told = network.moves(inputs), network(inputs)
        parts = inputs * network.slopes(moves, torch.ones(400, 2))
    torch.testing.assert_close(parts.sum(dim=1), moves.given[-1].sum(dim=1), rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(network.reference() + moves.given[-1], told, rtol=1e-5, atol=1e-6)


def test_a_part_of_each_hidden_layer_is_left_out_in_training_only() -> None:
    torch.manual_seed(1)
    network, inputs = Rescaled((6, 64, 2)), torch.randn(20, 6)
    whole = network(inputs)
    network.dropout = 0.5
    assert not torch.equal(network(inputs), whole)
    assert torch.equal(network.eval()(inputs), whole)
