"""What the commands report to the person who typed them."""


class UsageError(Exception):
    """Wrong input: a missing event log, a step that has not been run. The message says what to do; exit code 2."""
