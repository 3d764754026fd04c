"""Campaigns: the service, with small models, under what it must survive. `scripts/campaign kill|soak|fuzz|rude`."""
