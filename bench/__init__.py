"""Tools beside the product: the service under Immich's loads, beside the limit or another service."""
