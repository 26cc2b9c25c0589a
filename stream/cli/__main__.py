"""`python -m stream.cli` is `tidecast`."""

from stream.cli import main

main()
