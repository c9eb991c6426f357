"""What left this hospital, and what was refused: the release ledger."""
