"""The task next-item of next-best-offer: what a session views next, learnt from clicks alone."""
