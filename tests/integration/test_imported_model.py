"""A model that was trained elsewhere scores in a running worker, with reasons that name its one cause."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from export.foreign.description import Description
from export.foreign.importing import import_model
from models.registry import SHIPPED
from stream.eventlog import read_records
from tests.brokers import Broker
from tests.support import Shop

CAUSE = "product_orders"


class Counting(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """The more orders of a product, the likelier; nothing else counts."""

    def forward(self, x: Any) -> Any:
        return torch.sigmoid(0.3 * x[:, :1] - torch.tensor([[3.0, 2.0, 1.0]]))


def test_a_foreign_model_scores_in_a_worker(kafka: Broker, events: Path, tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    shutil.copytree(SHIPPED, registry)
    torch.save(Counting(), tmp_path / "counting.pt")
    described = Description(name="reorder", version="99.0.0", data="a test", features=[CAUSE, "customer_orders"])
    import_model(tmp_path / "counting.pt", described, registry, trusted=True)
    (tmp_path / "shop").mkdir()
    with Shop(tmp_path / "shop", broker=kafka) as shop:
        shop.environment["TIDECAST_MODELS__DIRECTORY"] = str(registry)
        shop.produce([(r.topic, r.key, r.value) for r in read_records(events)])
        worker = shop.start_worker()
        shop.wait_until_done()
        assert shop.stop_worker(worker) == 0, shop.logs()
        scores = [json.loads(r.value()) for r in shop.read("reorder-scores")]
    mine = [s for s in scores if s["fallback"] is None]
    assert mine
    assert {s["version"] for s in mine} == {"99.0.0"}
    for product in (p for s in mine for p in s["products"]):
        assert 0 < product["p_7d"] < product["p_14d"] < product["p_30d"] < 1
        reason, *others = product["reasons"]
        assert reason["feature"] == CAUSE
        assert not any(other["contribution"] for other in others)
        told = torch.sigmoid(torch.tensor(0.3 * reason["value"] - 1.0)).item()
        assert abs(product["p_30d"] - told) < 1e-4
