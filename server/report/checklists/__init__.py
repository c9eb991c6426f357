"""Reporting checklists, filled in from the run where it knows and MISSING where only people do."""

from server.report.checklists.facts import find_facts
from server.report.checklists.filled import Filled, facts_template, fill_all
from server.report.checklists.printed import checklist_table

__all__ = ["Filled", "checklist_table", "facts_template", "fill_all", "find_facts"]
