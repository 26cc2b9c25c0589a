"""The fault suite: workers as real processes on real Kafka and Valkey, with faults drawn from a seed.

Each run is compared with one that nothing disturbed. `python -m tests.faults --help`.
"""
