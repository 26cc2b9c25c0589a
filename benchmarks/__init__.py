"""Reproducible measurements; each is a script: `python benchmarks/<name>.py --help`."""
