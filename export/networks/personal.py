"""Personal: what it says of an offer that the customer bought this very product before."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from export.networks.preprocess import Standardise
from features.vectors.next_best_offer import FEATURES
from features.vectors.own import OWN

_HIDDEN = 24
#: Share of the hidden units that a training step does not see.
_DROPOUT = 0.1


class Personal(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A term of the log-odds for each product that a customer buys, beside 0 for a product that it never bought.

    That many offers were never bought shows in the network's bias. Of a product that was bought, likeness says less:
    it counts for a share that is learnt.
    """

    def __init__(self) -> None:
        super().__init__()
        self.inputs = Standardise(len(OWN))
        self.of_product = nn.Linear(2 * len(OWN), _HIDDEN)
        self.of_customer = nn.Linear(2 * len(FEATURES), _HIDDEN, bias=False)
        self.dropout = nn.Dropout(_DROPOUT)
        self.out = nn.Linear(_HIDDEN, 1)
        #: How much less likeness counts.
        self.less = nn.Parameter(torch.tensor(0.5))

    def gate(self, bought: Any) -> Any:
        """What likeness counts for, given whether the product was bought (0 or 1, any shape)."""
        return 1.0 - self.less * bought

    def forward(self, own_product: Any, own: Any, customer: Any) -> Any:
        """The terms.

        Args:
            own_product: int64 (b, 32), 0 for none.
            own: float32 (b, 32, 8), columns as `OWN`.
            customer: its standardised numbers, float32 (b, 2 · features).

        Returns:
            float32 (b, 32), 0 where there is no product.
        """
        hidden = self.of_product(self.inputs(own)) + self.of_customer(customer)[:, None, :]
        term = self.out(self.dropout(torch.relu(hidden)))[..., 0]
        return term * (own_product != 0).to(term.dtype)


def matched(keys: Any, offer_keys: Any, values: Any) -> tuple[Any, Any]:
    """The values of a customer's elements that are the same product as an offer, added up.

    An element at a time: all at once would not fit the processor's caches.

    Args:
        keys: int64 (b, 32).
        offer_keys: int64 (c,).
        values: float32 (b, 32).

    Returns:
        float32 (b, c), and whether there are any, 0 or 1, float32 (b, c).

    >>> matched(torch.tensor([[7, 8]]), torch.tensor([8, 9, 7]), torch.tensor([[1.0, 2.0]]))[0].tolist()
    [[2.0, 0.0, 1.0]]
    """
    total = torch.zeros(keys.shape[0], offer_keys.shape[0], dtype=values.dtype)
    found = torch.zeros(keys.shape[0], offer_keys.shape[0], dtype=torch.bool)
    for at in range(keys.shape[1]):
        same = keys[:, at, None] == offer_keys
        total, found = total + same.to(values.dtype) * values[:, at, None], found | same
    return total, found.to(values.dtype)


def matched_sparsely(keys: Any, offer_keys: Any, values: Any) -> tuple[Any, Any]:
    """What `matched` gives, for training: few elements are any offer, and only those are gone through again backwards.

    (A graph cannot hold it: how many there are depends on the values.)
    """
    same = keys[:, :, None] == offer_keys
    customer, element, offer = same.nonzero(as_tuple=True)
    total = torch.zeros(keys.shape[0], offer_keys.shape[0], dtype=values.dtype)
    total = total.index_put((customer, offer), values[customer, element], accumulate=True)
    return total, same.any(dim=1).to(values.dtype)


def matched_top(keys: Any, top_keys: Any, values: Any) -> Any:
    """Of some offers a customer, which values are theirs.

    Args:
        keys: int64 (b, 32).
        top_keys: int64 (b, k).
        values: float32 (b, 32).

    Returns:
        float32 (b, k, 32), 0 where an element is another product.
    """
    return (keys[:, None, :] == top_keys[:, :, None]).to(values.dtype) * values[:, None, :]
