"""Discovery: every view is found by its file, in `features/views/` and in the folders of `TIDECAST_VIEWS`."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import pkgutil
from collections.abc import Mapping
from pathlib import Path

from features.errors import ViewError
from features.view import View

#: Folders of further views, separated as in PATH. A file there replaces the shipped view of its name.
VARIABLE = "TIDECAST_VIEWS"


@functools.cache
def discover() -> Mapping[str, View]:
    """All views by name: each file has one, named VIEW, that is called as the file is.

    Raises:
        ViewError: a file declares no view or one of another name, or a folder is not there.

    >>> sorted(discover())[:2]
    ['customer_clicks', 'customer_orders']
    """
    import features.views as package

    found = {}
    for info in pkgutil.iter_modules(package.__path__):
        found[info.name] = _view_of(info.name, importlib.import_module(f"features.views.{info.name}"))
    for folder in os.environ.get(VARIABLE, "").split(os.pathsep):
        if folder:
            found |= views_in(Path(folder))
    return found


def views_in(folder: Path) -> dict[str, View]:
    """The views of a folder that is no package.

    Raises:
        ViewError: as `discover`.
    """
    if not folder.is_dir():
        raise ViewError(f"{folder} is no folder; {VARIABLE} names folders of view files")
    found = {}
    for path in sorted(folder.glob("[!_]*.py")):
        spec = importlib.util.spec_from_file_location(f"tidecast_views_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise ViewError(f"{path}: {type(error).__name__}: {error}") from error
        found[path.stem] = _view_of(path.stem, module)
    return found


def _view_of(name: str, module: object) -> View:
    view = getattr(module, "VIEW", None)
    where = getattr(module, "__file__", name)
    if not isinstance(view, View):
        raise ViewError(f"{where} declares no view; it should say VIEW = View(name={name!r}, …)")
    if view.name != name:
        raise ViewError(f"{where} declares a view named {view.name!r}; file and view have one name")
    return view


def views_of(entity: str) -> list[View]:
    """The views of an entity, in name order.

    >>> [v.name for v in views_of("item")]
    ['item_demand', 'item_stock']
    """
    return [view for _, view in sorted(discover().items()) if view.entity == entity]
