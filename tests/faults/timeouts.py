"""Time-outs of the workers under test: short, so that the loss of one costs a run little."""

from __future__ import annotations

SESSION_S, TRANSACTION_S, STORE_S = 2.0, 1.5, 1.0
