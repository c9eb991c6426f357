"""One hospital: the only code that opens patients' files."""
