"""Graphs made ready for Triton, and proven."""
