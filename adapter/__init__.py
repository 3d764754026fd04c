"""The service that speaks Immich's protocol, and its command line."""
