"""From models as they are published to Triton's folders. The way in is `door.Preparation`; all else is behind it."""
