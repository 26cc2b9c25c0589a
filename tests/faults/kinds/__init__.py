"""Kinds of faults, by what they are done to.

To add one, write one more class in one of these files, or in a file of your own: a frozen dataclass derived from
`tests.faults.fault.Fault` with `kind`, `doc`, `draw` (all that is random, from the seed), `strike` (what it does) and,
where needed, `prepare` (settings and relays, before there is a worker) and `heal`. It is found by itself, gets its turn
among the seeds, and is listed by `python -m tests.faults --help`.
"""
