"""Write the report: one HTML file that needs no script, no font and no network."""

import re
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup, escape

from server.report.picture import MARK, Picture, to_svg
from server.report.sections import sections
from server.report.summary import summary, tiles
from server.report.words import Results, number
from shared.files import write_atomically
from shared.pages import page_environment


def write_report(results: Results, path: Path) -> None:
    """Write the results as one self-contained HTML file.

    The same results give the same bytes on one installation. Nothing is computed that
    the results do not hold: numbers are only worded, laid out and drawn.
    """
    synthetic = bool(results.get("synthetic"))

    def svgs(picture: Picture) -> list[Markup]:
        return [Markup(svg) for svg in to_svg(picture, synthetic=synthetic)]

    page = _environment().get_template("report.html.j2")
    text = page.render(
        title=results.get("title") or "Report",
        study=results.get("study") or {},
        engine=results.get("engine"),
        mark=MARK if synthetic else "",
        tiles=tiles(results),
        summary=summary(results),
        sections=sections(results),
        svgs=svgs,
        versions=results.get("versions") or {},
        code_hash=results.get("code_hash"),
        timings={key: number(s, 1) for key, s in (results.get("timings_s") or {}).items()},
        settings=results.get("settings_yaml") or "",
    )
    write_atomically(path, text.encode())


def _environment() -> Environment:
    environment = page_environment(Path(__file__).parent)
    environment.filters["unbroken"] = _unbroken
    return environment


def _unbroken(text: str) -> Markup:
    """Escape a sentence, and keep its intervals and powers of ten on one line each."""
    numbers = r"[\d.]+–[\d.]*\d|[\d.]+ × 10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+|n = \d+"
    safe = str(escape(text))
    return Markup(re.sub(numbers, r'<span class="whole">\g<0></span>', safe))
