"""Secure sums at the site: its identity, whom it knows, its keys, and what it has added once."""
