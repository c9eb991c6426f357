"""What two answers would tell by their difference: of whom each was, and in which terms."""
