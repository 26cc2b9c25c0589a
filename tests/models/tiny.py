"""Models of a hundred bytes, and releases of them.

Made with the `onnx` package of the extra `export`:

* `REORDER`: `probability = features @ [[1, 2, 3], [10, 20, 30]]`, `contributions = features + features`,
  `rank` is the sum of the features, which are float32[n, 2].
* `SCALING`: `scaled = x * scale`; x is float32[n, 2], scale float32[1].
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import msgspec

from models.manifest import TASKS, Manifest, Parity, Tensor, Training, write_manifest

REORDER = base64.b64decode(
    "CAk6rgIKIgoIZmVhdHVyZXMKAXcSC3Byb2JhYmlsaXR5IgZNYXRNdWwKKAoIZmVhdHVyZXMKCGZlYXR1cmVzEg1jb250cmlidXRpb25zIgNBZGQKLwoI"
    "ZmVhdHVyZXMKAWESBHJhbmsiCVJlZHVjZVN1bSoPCghrZWVwZGltcxgAoAECEgFnKiMIAggDEAFCAXdKGAAAgD8AAABAAABAQAAAIEEAAKBBAADwQSoR"
    "CAEQB0IBYUoIAQAAAAAAAABaGwoIZmVhdHVyZXMSDwoNCAESCQoDEgFuCgIIAmIeCgtwcm9iYWJpbGl0eRIPCg0IARIJCgMSAW4KAggDYiAKDWNvbnRy"
    "aWJ1dGlvbnMSDwoNCAESCQoDEgFuCgIIAmITCgRyYW5rEgsKCQgBEgUKAxIBbkIECgAQEg=="
)
SCALING = base64.b64decode(
    "CAk6YgoXCgF4CgVzY2FsZRIGc2NhbGVkIgNNdWwSAWdaFAoBeBIPCg0IARIJCgMSAW4KAggCWhMKBXNjYWxlEgoKCAgBEgQKAggBYhkKBnNjYWxl"
    "ZBIPCg0IARIJCgMSAW4KAggCQgQKABAS"
)


def written(directory: Path, graph: bytes = REORDER) -> Path:
    """A model.onnx."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "model.onnx"
    path.write_bytes(graph)
    return path


def manifest(graph: bytes = REORDER, **changes: Any) -> Manifest:
    """A manifest of the tiny reorder model."""
    inputs, outputs = TASKS["reorder"]
    whole = Manifest(
        name="reorder",
        version="1.0",
        task="reorder",
        vector="reorder",
        features=["recency", "frequency"],
        reads={"customer_orders.orders": "00ff", "customer_repertoire.repertoire": "aa00"},
        inputs=[Tensor(name=n, type=t) for n, t in inputs.items()],
        outputs=[Tensor(name=n, type=t) for n, t in outputs.items()],
        sha256=hashlib.sha256(graph).hexdigest(),
        opset=18,
        baseline=-2.5,
        training=Training(
            data="made up",
            licence="CC0",
            rows=1,
            trained_from="2020-01-01",
            trained_until="2020-01-02",
            tested_from="2020-01-03",
            tested_until="2020-01-04",
            seed=1,
        ),
        metrics=[],
        calibration={},
        parity=Parity(rows=1, max_abs_difference=0.0, max_rel_difference=0.0),
        licence="Apache-2.0",
    )
    return msgspec.structs.replace(whole, **changes)


def released(registry: Path, graph: bytes = REORDER, at: str | None = None, **changes: Any) -> Path:
    """A release in `<registry>/<name>/<version>/`, or in the directory `at`."""
    made = manifest(graph, **changes)
    directory = registry / (at or f"{made.name}/{made.version}")
    written(directory, graph)
    write_manifest(directory, made)
    return directory
