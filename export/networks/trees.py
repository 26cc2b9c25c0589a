"""Boosted trees in a graph: features to a score, or to what each adds; in torch and onnxruntime equal to the last bit.

LightGBM's thresholds are doubles; the float32 next below one of them parts all float32 values as it does. Leaves are
multiples of a power of two, so coarse that any sum of them is exact in float32: the order of a sum, and with it the
size of a batch, cannot matter. Unknown values go where LightGBM sends them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

#: Of a table, a column each; rows are the nodes of all trees, one tree after another, its root first. Values are of a
#: leaf: one, or one of each target, (nodes, targets).
COLUMNS = {
    "tree": torch.int64,
    "feature": torch.int64,
    "threshold": torch.float32,
    "unknown_left": torch.bool,
    "left": torch.int64,
    "right": torch.int64,
    "value": torch.float32,
}
#: A sum of float32 whose terms are multiples of its last bit is exact up to so many of them.
_EXACT = 2.0**23
_NUMBERS = itertools.count()
#: LightGBM writes an infinite threshold, which parts known values from unknown ones, as this.
_INFINITE = 1e300


class Trees(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Features (n, width), raw, to the sum of a leaf a tree, (n,); 0 without trees.

    `left` and `right` are rows of the table; a leaf has itself there, and a value.
    """

    tree: Any
    feature: Any
    threshold: Any
    unknown_left: Any
    left: Any
    right: Any
    value: Any

    def __init__(self) -> None:
        super().__init__()
        self.number = next(_NUMBERS)
        for name, kind in COLUMNS.items():
            self.register_buffer(name, torch.empty(0, dtype=kind))

    def learn(self, booster: Any, weight: float) -> None:
        """Takes over a LightGBM booster, every leaf times a weight; none is one without trees.

        A tree that splits nothing is left out.
        """
        rows: list[tuple[Any, ...]] = []
        roots = [tree["tree_structure"] for tree in booster.dump_model()["tree_info"]] if booster is not None else []
        for number, root in enumerate(root for root in roots if "left_child" in root):
            _walk(root, number, rows)
        names = (*COLUMNS, "count")
        columns = [np.array(column) for column in zip(*rows, strict=True)] if rows else [np.empty(0)] * len(names)
        table = dict(zip(names, columns, strict=True))
        table["value"] = _rounded(self._values(table) * weight, table["tree"])
        for name, kind in COLUMNS.items():
            setattr(self, name, torch.from_numpy(np.ascontiguousarray(table[name])).to(kind))

    def _values(self, table: dict[str, NDArray[Any]]) -> NDArray[Any]:
        """What the leaves of a table add, of which each has a value."""
        return table["value"]

    def forward(self, features: Any) -> Any:
        """See the class."""
        if len(self.tree) == 0:
            return features.new_zeros(features.shape[0], *self.value.shape[1:])
        return _OPERATOR(features, *(getattr(self, name) for name in COLUMNS), self.number)

    def table(self) -> dict[str, NDArray[Any]]:
        """An array a column."""
        return {name: getattr(self, name).numpy() for name in COLUMNS}

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *others: Any) -> None:
        """A checkpoint has as many nodes as it has."""
        for name in COLUMNS:
            if prefix + name in state:
                setattr(self, name, torch.empty_like(state[prefix + name]))
        super()._load_from_state_dict(state, prefix, *others)


class ToldTrees(Trees):
    """Features (n, width), raw, to what each of them adds, (n, width); the sum over a row is that of a leaf a tree.

    On the way from a root to a leaf, each split adds by how much what is expected below it differs from what was
    before, by the rows of training on either side. What is expected at a root counts as the feature's that it asks for.

    Source: A. Saabas, "Interpreting random forests" (2014).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.value = torch.empty(0, width)

    def _values(self, table: dict[str, NDArray[Any]]) -> NDArray[Any]:
        left, right, feature, rows = (table[name].astype(int) for name in ("left", "right", "feature", "count"))
        expected, inner = table["value"].astype(float), np.flatnonzero(left != np.arange(len(left)))
        for at in inner[::-1]:
            below = [left[at], right[at]]
            expected[at] = np.average(expected[below], weights=rows[below])
        adds = np.zeros((len(left), self.value.shape[1]))
        roots = np.flatnonzero(np.diff(table["tree"], prepend=-1))
        adds[roots, feature[roots]] = expected[roots]
        for at in inner:
            for below in (left[at], right[at]):
                adds[below] = adds[at]
                adds[below, feature[at]] += expected[below] - expected[at]
        adds[inner] = 0.0
        return adds


def translations(network: Any) -> dict[Any, Callable[..., Any]]:
    """How `torch.onnx` writes the trees of a network: as an operator that onnxruntime has, with them as attributes."""
    tables = {each.number: each.table() for each in network.modules() if isinstance(each, Trees)}

    def written(features: Any, *given: Any) -> Any:
        return _as_operator(features, tables[given[-1]])

    return {torch.ops.tidecast.trees.default: written} if tables else {}


def _sums(
    features: torch.Tensor,
    tree: torch.Tensor,
    feature: torch.Tensor,
    threshold: torch.Tensor,
    unknown_left: torch.Tensor,
    left: torch.Tensor,
    right: torch.Tensor,
    value: torch.Tensor,
    number: int,
) -> torch.Tensor:
    """All rows go down all trees at once, until none moves; `number` tells exports which trees these are."""
    at = torch.searchsorted(tree, torch.arange(int(tree[-1]) + 1)).expand(len(features), -1)
    while True:
        asked = features.gather(1, feature[at])
        goes_left = (asked <= threshold[at]) | (asked.isnan() & unknown_left[at])
        below = torch.where(goes_left, left[at], right[at])
        if torch.equal(below, at):
            return sum((value[of] for of in at.T), torch.zeros(len(features), *value.shape[1:]))
        at = below


#: An operator of its own to torch, so that it is exported whole.
_OPERATOR: Any = torch.library.custom_op("tidecast::trees", _sums, mutates_args=())
_OPERATOR.register_fake(lambda features, *given: features.new_empty(features.shape[0], *given[-2].shape[1:]))


def _as_operator(features: Any, table: dict[str, NDArray[Any]]) -> Any:
    """TreeEnsembleRegressor of ai.onnx.ml; nodes are numbered within their tree, a leaf names what it adds to."""
    from onnxscript.onnx_opset import opset18, opset_ai_onnx_ml3

    tree = table["tree"]
    first = np.searchsorted(tree, tree)
    leaf = table["left"] == np.arange(len(tree))
    number, value = np.arange(len(tree)) - first, table["value"].reshape(len(tree), -1)
    adds = value != 0
    adds[:, 0] |= ~adds.any(axis=1)  # each leaf has a target, be it to add nothing
    at, target = np.nonzero(adds & leaf[:, None])
    summed = opset_ai_onnx_ml3.TreeEnsembleRegressor(
        features,
        n_targets=value.shape[1],
        nodes_treeids=tree.tolist(),
        nodes_nodeids=number.tolist(),
        nodes_modes=np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_featureids=table["feature"].tolist(),
        nodes_values=table["threshold"].tolist(),
        nodes_missing_value_tracks_true=table["unknown_left"].astype(int).tolist(),
        nodes_truenodeids=np.where(leaf, 0, table["left"] - first).tolist(),
        nodes_falsenodeids=np.where(leaf, 0, table["right"] - first).tolist(),
        target_treeids=tree[at].tolist(),
        target_nodeids=number[at].tolist(),
        target_ids=target.tolist(),
        target_weights=value[at, target].tolist(),
    )
    return summed if table["value"].ndim > 1 else opset18.Squeeze(summed, opset18.Constant(value_ints=[1]))


def _walk(node: dict[str, Any], tree: int, rows: list[tuple[Any, ...]]) -> int:
    """Adds a node of LightGBM's dump and all below it; gives its row."""
    at = len(rows)
    if "leaf_value" in node:
        rows.append((tree, 0, 0.0, False, at, at, node["leaf_value"], node["leaf_count"]))
        return at
    if node["decision_type"] != "<=":
        raise ValueError(f"a tree splits by {node['decision_type']}; only numeric splits are known")
    rows.append(())
    left, right = (_walk(node[side], tree, rows) for side in ("left_child", "right_child"))
    threshold = _below(node["threshold"])
    # Without unknown values in what it was fitted on, LightGBM takes them for 0.
    unknown_left = node["default_left"] if node["missing_type"] == "NaN" else threshold >= 0.0
    rows[at] = (tree, node["split_feature"], threshold, unknown_left, left, right, 0.0, node["internal_count"])
    return at


def _below(threshold: float) -> float:
    """The largest float32 that is not above a threshold.

    >>> _below(0.1) <= 0.1 < float(np.nextafter(np.float32(_below(0.1)), np.float32(1)))
    True
    """
    if abs(threshold) >= _INFINITE:
        return float(np.copysign(np.inf, threshold))
    near = np.float32(threshold)
    return float(near if float(near) <= threshold else np.nextafter(near, np.float32(-np.inf)))


def _rounded(value: NDArray[Any], tree: NDArray[Any]) -> NDArray[np.float32]:
    """Leaves as multiples of a power of two, of which the largest sum of all targets of one a tree has 2^23 at most."""
    if len(value) == 0:
        return value.astype(np.float32)
    largest = np.maximum.reduceat(
        np.abs(value).reshape(len(value), -1).sum(axis=1), np.flatnonzero(np.diff(tree, prepend=-1))
    ).sum()
    step = 2.0 ** np.ceil(np.log2(max(largest, 1e-30) / _EXACT))
    return np.asarray(np.round(value / step) * step, np.float32)
