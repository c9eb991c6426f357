"""What both sides must agree on: settings, errors, statistics that pool, messages."""
