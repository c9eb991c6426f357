"""A draft of a paper's Methods and Results, in which every number names where it is from."""

from server.report.draft.written import draft_file

__all__ = ["draft_file"]
