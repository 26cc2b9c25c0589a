"""Evaluations: a file a model; a released model on an event log, beside baselines that are fitted on the same log."""
