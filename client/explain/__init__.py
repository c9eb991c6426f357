"""Where the networks look: the heat of a patient, what may be told of it, and pages of it."""
