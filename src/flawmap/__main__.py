"""`python -m flawmap` is the command `flawmap`."""

from flawmap.cli import main

main()
