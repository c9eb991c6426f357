"""`draft.md`: the draft as Markdown."""

from server.report.checklists.answers import run_of
from server.report.draft.found import found
from server.report.draft.methods import methods
from server.report.draft.sentence import paragraph, source_of
from server.report.picture import MADE_UP
from server.report.words import Results

HEAD = """This is a draft to write from. Each number is followed by its key in numbers.json, or in
study.yaml where it is a setting; take the brackets out last. What only people know (who was
eligible, ethics, imaging, masks, reference standard) is not in it: see study_facts.yaml."""


def draft_file(results: Results) -> bytes:
    """The content of `draft.md`: Methods and Results in sentences, every number with its key.

    A sentence of which a number is not known is left out; so are the Methods of a run whose study
    file this release cannot read.
    """
    source, run = source_of(results), run_of(results)
    parts = [f"# {results.get('title') or 'Draft'}", HEAD]
    if results.get("synthetic"):
        parts.append(f"**{MADE_UP[:1].upper()}{MADE_UP[1:]}.**")
    chapters = {"Methods": methods(run.settings) if run.settings else {}, "Results": found(results)}
    for title, sections in chapters.items():
        told = {head: paragraph(sentences, source) for head, sentences in sections.items()}
        if any(told.values()):
            parts.append(f"## {title}")
            parts += [f"### {head}\n\n{text}" for head, text in told.items() if text]
    return ("\n\n".join(parts) + "\n").encode()
