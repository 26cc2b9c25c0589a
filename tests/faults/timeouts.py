"""Time-outs of the workers under test: short, so that the loss of one costs a run little.

Not shorter: on a busy machine transactions of living workers would time out all the time, and nothing would get done.
"""

from __future__ import annotations

SESSION_S, TRANSACTION_S, STORE_S = 2.0, 3.0, 1.0
