"""The demonstration: models that need no download, and the show."""
