"""Tasks: a file a model, with its data set, training and evaluation; found by the name of the released model."""

from __future__ import annotations

from export.errors import UsageError
from export.tasks.base import Task


def task_of(name: str) -> Task:
    """The task that releases the model `name`.

    Raises:
        UsageError: there is no such model.
    """
    from export.tasks.next_best_offer import NextBestOffer
    from export.tasks.reorder import Reorder
    from export.tasks.stockout import Stockout

    tasks: dict[str, type[Task]] = {t.name: t for t in (Reorder, Stockout, NextBestOffer)}
    if name not in tasks:
        raise UsageError(f"there is no model {name!r}; models are {', '.join(tasks)}")
    return tasks[name]()


MODELS = ("reorder", "stockout", "next-best-offer")
