"""What carries out the dump tasks: when a delivery is due, what goes where, and the buckets."""
