"""A bundle on one new patient whose label is not known: the score, what made it, and warnings."""
