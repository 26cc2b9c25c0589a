"""Released models: manifests, ONNX sessions and the registry. Nothing here knows features, Kafka or torch."""
