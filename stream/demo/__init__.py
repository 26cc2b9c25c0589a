"""The demonstration: real orders as a time-lapse, watched by an observer of its own."""
