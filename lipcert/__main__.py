"""`python -m lipcert`: the command line."""

from lipcert.cli import main

main()
