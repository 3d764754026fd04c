"""Tools beside the product: the service under Immich's loads beside its limit, and NVIDIA's perf_analyzer."""
