"""What aiodis does under load, measured: `python -m benchmarks --help`."""
