"""Architectures: raw features in, graph contract of `models.manifest.TASKS` out; preprocessing is a part of them."""
