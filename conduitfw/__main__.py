"""`python -m conduitfw`."""

from conduitfw.cli.main import main

main(prog_name="conduitfw")
