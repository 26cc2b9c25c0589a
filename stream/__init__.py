"""The running engine: source, decode, micro-batch, fold, assemble, score, sink, commit."""
