"""Benchmarks: each measures glas and a peer in one run, turn by turn, and prints the ratio.

`python -m benchmarks.NAME` runs one, `python -m benchmarks.run` all; README.md says what each needs.
"""
