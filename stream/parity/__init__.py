"""Parity: the vectors that the live engine scored, recomputed from the event log and compared bit for bit."""

from stream.parity.check import Logged, check, read_vectors, vectors_in
from stream.parity.compare import Report

__all__ = ["Logged", "Report", "check", "read_vectors", "vectors_in"]
