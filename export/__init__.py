"""The training side: from an event log to a released ONNX model. The only package that imports torch.

The path, one module a step: `history` → `datasets` → `networks` → `fit` → `tasks` (evaluate) → `convert` → `verify` →
`release`; `cli` runs the steps.
"""
