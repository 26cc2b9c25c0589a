"""Data sets: a file a model; rows from history with labels from what came after."""
