"""docs/tutorial-own-model.md: its files and commands, one after another, on a made-up shop."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.registry import load
from tests.export.shop import write_shop

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(sh|python|toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: The one command that is not run: the shop is made up here.
_IMPORT = "tidecast import online-retail --out events"


def run(command: str, folder: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("COV", "PYTEST"))}
    environment = kept | {"PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.mark.timeout(600)
def test_the_tutorial_ends_with_a_model_that_scores(tmp_path: Path) -> None:
    write_shop(tmp_path / "events")
    (tmp_path / "models").symlink_to(ROOT / "models")
    said: dict[str, str] = {}
    for kind, text in _BLOCK.findall((ROOT / "docs" / "tutorial-own-model.md").read_text(encoding="utf-8")):
        if kind == "sh":
            for command in text.splitlines():
                if command != _IMPORT:
                    said[command] = run(command, tmp_path)
        else:
            (tmp_path / text.splitlines()[0].removeprefix("# ")).write_text(text, encoding="utf-8")
    assert "epoch 2: validation loss" in said["python train.py"]
    model = load(tmp_path / "registry", "reorder")
    assert model.manifest.version == "1.0.0"
    golden = np.load(model.directory / "golden.npz")
    p = model.session.run({"features": golden["in.features"]}, rows=32)["probability"]
    assert p.shape == (32, 3)
    assert (np.diff(p, axis=1) >= 0).all()
    assert 0.0 < p.min() < p.max() < 1.0
    assert "1.0.0" in said["tidecast models list --directory registry"]
