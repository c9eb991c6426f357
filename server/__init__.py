"""The coordinator: it asks the sites, combines their answers and never sees an image."""

import shared  # noqa: F401  (first: it keeps the libraries from calling home)
