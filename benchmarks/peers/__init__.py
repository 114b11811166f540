"""The clients that are compared: one module each, one function for each kind of work.

A function takes a `Job` and a `Meter`, warms up, starts the meter, works while it
runs, stops it with what was delivered, and returns what else there is to report.
"""
