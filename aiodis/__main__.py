"""`python -m aiodis` is the command `aiodis`."""

from aiodis.cli import main

main()
