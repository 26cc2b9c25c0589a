"""Kinds of faults, by what they are done to; a class here is found by `tests.faults.fault.kinds`."""
