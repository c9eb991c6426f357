"""Tables and figures of a finished study, in one file that needs nothing else."""

from server.report.render import draw_figures, write_report
from server.report.saved import read_results

__all__ = ["draw_figures", "read_results", "write_report"]
