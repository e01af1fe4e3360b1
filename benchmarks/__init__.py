"""Benchmarks: each prints a ratio against a named peer, or what bounds a figure."""
