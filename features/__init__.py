"""Feature views: what is computed from events, how it is folded, and where it is kept.

Nothing in this package knows Kafka or ONNX. The same kernels fold live micro-batches, replayed logs and training
history, so a feature is the same number everywhere.
"""
