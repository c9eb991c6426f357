"""The leak audit: attacks of this hospital's own on what a run released."""
