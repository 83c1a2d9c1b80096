"""Benchmarks that anybody can run: CPU time and memory of the real program, as ratios where machines are noisy."""
