"""The documents about adding things: their changes are applied to a copy, and what they run is run there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_DIFF = re.compile(
    r"^```diff\n--- /dev/null\n\+\+\+ b/(\S+)\n@@ -0,0 \+1,(\d+) @@\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
_FILE = re.compile(r"^```python\n# (my-views/\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def additions(document: str) -> dict[str, str]:
    """The files that the diffs of a document add, as text by path."""
    found = {}
    for path, count, body in _DIFF.findall((ROOT / "docs" / document).read_text(encoding="utf-8")):
        lines = body.splitlines()
        assert all(line.startswith("+") for line in lines), f"{document}: {path} is no addition of one file"
        assert len(lines) == int(count), f"{document}: the diff of {path} says {count} lines and has {len(lines)}"
        found[path] = "".join(line[1:] + "\n" for line in lines)
    return found


def others(document: str) -> dict[str, str]:
    """Files of the document that are outside the package."""
    return dict(_FILE.findall((ROOT / "docs" / document).read_text(encoding="utf-8")))


class Copy:
    """The features and their tests, to change and try."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "features", folder / "features")
        shutil.copytree(ROOT / "tests" / "features", folder / "tests" / "features")
        for name in ("tests/__init__.py", "pyproject.toml"):
            shutil.copy(ROOT / name, folder / name)

    def add(self, files: dict[str, str]) -> None:
        """Adds files; none may be there yet."""
        for name, text in files.items():
            path = self.folder / name
            assert not path.exists(), f"{name} is there already: the document adds what exists"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def run(self, *command: str, views: str = "") -> str:
        """Runs a module of Python with the copy in the place of the package; fails when it fails."""
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("COV", "PYTEST"))}
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env={**kept, "PYTHONPATH": str(self.folder), "TIDECAST_VIEWS": views, "COLUMNS": "200", "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=150,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def passed(self, *arguments: str, views: str = "") -> int:
        """How many tests passed; none may fail or be skipped."""
        out = self.run("pytest", "-q", "-p", "no:cacheprovider", *arguments, views=views)
        assert "skipped" not in out
        counted = re.search(r"(\d+) passed", out)
        assert counted is not None, out
        return int(counted[1])


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_a_view_is_added_by_one_file(copy: Copy) -> None:
    files = additions("adding-a-view.md")
    assert list(files) == ["features/views/customer_searches.py"]
    copy.add(files)
    described = copy.run("stream.cli", "features", "describe", "customer_searches")
    assert "customer_searches (customer; stream clicks; " in described
    assert "pages_per_search" in described
    assert copy.passed("tests/features/test_views.py", "-k", "customer_searches") >= 10
    copy.run("features.pages")
    assert "Searches of a customer" in (copy.folder / "docs" / "features" / "customer_searches.md").read_text()


def test_an_aggregation_is_added_by_one_file_and_its_test(copy: Copy) -> None:
    files = additions("adding-an-aggregation.md")
    assert list(files) == ["features/aggregations/weekdays.py", "tests/features/aggregations/test_weekdays.py"]
    copy.add(files)
    copy.add(others("adding-an-aggregation.md"))
    assert copy.passed("tests/features/aggregations/test_weekdays.py") == 3
    described = copy.run("stream.cli", "features", "describe", "customer_weekdays", views="my-views")
    assert "order_weekend_share" in described
    assert copy.passed("tests/features/test_views.py", "-k", "customer_weekdays", views="my-views") >= 10


@pytest.mark.parametrize("document", ["adding-a-view.md", "adding-an-aggregation.md"])
def test_what_is_added_keeps_to_the_style(copy: Copy, document: str) -> None:
    files = additions(document)
    copy.add(files)
    copy.run("ruff", "check", "--no-cache", *files)
    copy.run("ruff", "format", "--check", "--no-cache", *files)


@pytest.mark.parametrize("document", ["adding-a-view.md", "adding-an-aggregation.md"])
def test_links_lead_somewhere(document: str) -> None:
    links = re.findall(r"\]\(([^)#]+)", (ROOT / "docs" / document).read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
