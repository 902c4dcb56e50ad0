"""Benchmarks of the stage: `python -m data_gen.bench`."""
