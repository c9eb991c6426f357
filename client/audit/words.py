"""An audit as text, as a page that can be printed, and as JSON."""

import json
import textwrap
from dataclasses import asdict
from pathlib import Path

from client.audit.audit import Audit
from client.audit.findings import EXPLAINED, Finding
from shared.files import write_atomically
from shared.pages import page_environment

WIDTH = 100
NAMES = {"linkage": "found again", "reconstruction": "R squared", "membership": "AUC"}
CAUTION = (
    "The attacks are ours, on this hospital's own patients; others may do better, and of few "
    "patients a leak can hide in a wide interval. Nothing here makes data anonymous: who decides "
    "weighs these numbers with all else."
)
NOTHING = (
    "Nothing was released of single patients, no sums for a fusion layer, and no network was "
    "trained: what left are counts and statistics of the whole cohort, which are not attacked here."
)


def lines(found: Audit) -> list[str]:
    """All of it for a terminal."""
    out = head_lines(found)
    if not found.findings:
        return [*out, "", *textwrap.wrap(NOTHING, WIDTH)]
    out += ["", f"{'attack':<16}{'on':<30}{'number':>22}{'interval':>15}{'chance':>8}  verdict"]
    for each in found.findings:
        out.append(
            f"{each.attack:<16}{each.release[:29]:<30}{number_of(each):>22}{interval_of(each):>15}"
            f"{chance_of(each):>8}  {each.verdict}"
        )
    for each in found.findings:
        about = f"{each.release}, {each.attack}: {each.words}"
        out += ["", *textwrap.wrap(about, WIDTH, subsequent_indent="  ")]
    for attack, text in EXPLAINED.items():
        out += ["", *textwrap.wrap(f"{attack}: {text}", WIDTH, subsequent_indent="  ")]
    return [*out, "", *textwrap.wrap(CAUTION, WIDTH)]


def head_lines(found: Audit) -> list[str]:
    """Of which run it is, and how much of it is still there."""
    return [
        f"Leak audit at {found.site}: {found.study}",
        f"study {found.study_hash[:16]}, run {found.run}, fusion.exchange: {found.exchange}",
        f"{found.n_released} answers left by the release ledger; {found.n_kept} are kept and read",
    ]


def number_of(each: Finding) -> str:
    """The number with its name."""
    if each.value is None:
        return "-"
    value = f"{each.value:.1%}" if each.attack == "linkage" else f"{each.value:.2f}"
    return f"{NAMES[each.attack]} {value}"


def interval_of(each: Finding) -> str:
    """The 95 % interval, where there is one."""
    if each.low is None or each.high is None:
        return "-"
    form = ".1%" if each.attack == "linkage" else ".2f"
    return f"{each.low:{form}}-{each.high:{form}}"


def chance_of(each: Finding) -> str:
    """The same by chance."""
    if each.chance is None:
        return "-"
    return f"{each.chance:.1%}" if each.attack == "linkage" else f"{each.chance:.2f}"


def as_json(found: Audit) -> str:
    """All of it, for programs."""
    body = asdict(found)
    for each, entry in zip(found.findings, body["findings"], strict=True):
        entry["times_chance"] = each.times_chance
    return json.dumps(body, indent=1)


def write_page(found: Audit, path: Path) -> None:
    """Write the page."""
    here = Path(__file__).parent
    environment = page_environment(here, here.with_name("forecast"))
    environment.filters |= {"number": number_of, "interval": interval_of, "chance": chance_of}
    text = environment.get_template("page.html.j2").render(
        found=found, explained=EXPLAINED, caution=CAUTION, nothing=NOTHING
    )
    write_atomically(path, text.encode())
