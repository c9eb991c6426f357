"""How a study's server comes to be, whom it invites, and whose keys it accepts."""
