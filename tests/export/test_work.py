from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from export.errors import UsageError
from export.work import Work


def saved(directory: Path, network: nn.Module) -> Work:
    work = Work("stockout", directory)
    work.save_network(network)
    return work


def test_weights_come_back(tmp_path: Path) -> None:
    made = nn.Linear(3, 2)
    found = saved(tmp_path, made).network(nn.Linear(3, 2))
    assert torch.equal(found.weight, made.weight)
    assert not found.training


@pytest.mark.parametrize("other", [nn.Linear(4, 2), nn.Linear(3, 2, bias=False), nn.Sequential(nn.Linear(3, 2))])
def test_weights_of_another_network_are_told(tmp_path: Path, other: nn.Module) -> None:
    with pytest.raises(UsageError, match=r"checkpoint\.pt does not fit .* run `tidecast-export train stockout` again"):
        saved(tmp_path, other).network(nn.Linear(3, 2))


@pytest.mark.parametrize("length", [0, 100])
def test_a_broken_file_is_told(tmp_path: Path, length: int) -> None:
    work = saved(tmp_path, nn.Linear(3, 2))
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(UsageError, match="or is broken"):
        work.network(nn.Linear(3, 2))
