"""The coordinator's processes: Flower's SuperLink and what keeps a study running on it."""
