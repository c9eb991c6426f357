"""One hospital: the only code that opens patients' files."""

import shared  # noqa: F401  (first: it keeps the libraries from calling home)
