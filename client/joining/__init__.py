"""How a hospital joins a study: invitation, key, answer, and the way through its network."""
