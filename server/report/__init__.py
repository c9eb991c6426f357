"""Tables and figures of a finished study, in one file that needs nothing else."""

from server.report.checklists import facts_template, find_facts
from server.report.export import write_export
from server.report.render import write_report
from server.report.saved import read_results

__all__ = ["facts_template", "find_facts", "read_results", "write_export", "write_report"]
