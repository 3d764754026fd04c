"""Two services beside each other: the same requests to both, what they answer, and how fast."""
