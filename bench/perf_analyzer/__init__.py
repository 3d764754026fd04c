"""The public Triton models under NVIDIA's own load generator, `perf_analyzer`."""
