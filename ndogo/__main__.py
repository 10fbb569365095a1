"""`python -m ndogo` is the `ndogo` command."""

from ndogo.cli import main

main()
