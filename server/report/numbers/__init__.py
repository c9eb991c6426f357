"""Every number of a finished study in one flat list, each with where it is from."""

from server.report.numbers.listed import numbers_file

__all__ = ["numbers_file"]
