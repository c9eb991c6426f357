"""Tables and figures of a finished study, in one file that needs nothing else."""

from server.report.render import draw_figures, write_report

__all__ = ["draw_figures", "write_report"]
