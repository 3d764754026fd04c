"""Models that are known but not here: fetched, checked, pinned, put into the cache folder."""
