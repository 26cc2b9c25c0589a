"""Released models: manifests, ONNX sessions and the registry. Nothing here knows features, Kafka or torch."""

import os

# A server that scores tells nobody else: read by onnxruntime when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
