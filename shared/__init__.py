"""What both sides must agree on: configuration, errors, statistics that pool, networks, messages."""
