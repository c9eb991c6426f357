"""The appendix to a data protection impact assessment."""
