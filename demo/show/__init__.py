"""The demo: the whole stack as a user starts it, shown at work; needs no download."""
