"""Bytes to values and back, shared by the client and the embedded server. No I/O, no clock."""
