"""The dry run as text, as a page that can be printed, and as JSON."""

import json
import textwrap
from dataclasses import asdict
from pathlib import Path

from client.forecast.expected import Array
from client.forecast.forecast import Forecast, Leaving
from shared.files import write_atomically
from shared.pages import page_environment

WIDTH = 100
EXPLAINED = """No patient's file was opened. Lengths and bytes are the largest that there can be; a
word in the place of a length is what it is the number of. Answers whose number is not known before
are given as often as the server's search or fit takes. Each is written to the release ledger."""


def short_lines(found: Forecast) -> list[str]:
    """A line for each answer."""
    lines = [f"{'what is asked':<36}{'times':>7}{'bytes at most':>18}{'cell':>6}  of whom"]
    for each in found.answers:
        name = f"{each.question} {each.about}".strip()
        lines.append(
            f"{name:<36}{times_of(each):>7}{bytes_of(each):>18}{cell_of(each):>6}  {each.of}"
            f"{epsilon_of(each)}{'  REFUSED' if each.refused else ''}"
        )
    return [*lines, *mode_lines(found), *refusal_lines(found)]


def long_lines(found: Forecast) -> list[str]:
    """Each stage in its contract's words, and each of its answers with all that it holds."""
    lines = head_lines(found)
    for number, (stage, words) in enumerate(found.words.items(), start=1):
        lines += ["", f"{number}. {stage}", *textwrap.wrap(words, WIDTH, initial_indent="   ",
                  subsequent_indent="   ")]  # fmt: skip
        for each in found.kinds:
            if each.stage == stage:
                lines += answer_lines(each)
    return [*lines, "", *mode_lines(found), *refusal_lines(found), *total_lines(found)]


def head_lines(found: Forecast) -> list[str]:
    """Of which site and study it is."""
    return [
        f"What would leave {found.site} ({found.role}): {found.title}",
        f"study {found.study}, hash {found.study_hash}",
        *textwrap.wrap(" ".join(EXPLAINED.split()), WIDTH),
    ]


def answer_lines(each: Leaving) -> list[str]:
    """One answer."""
    about = f" of {each.about}" if each.about else ""
    several = "; for each" if ", " in about else ""
    hidden = "; under masks" if each.masked else ""
    cell = "no count checked" if each.least_cell is None else f"smallest cell {each.least_cell}"
    often = {None: "as often as it takes", 1: "once"}.get(each.times, f"{each.times} times at most")
    told = f"{often}; {bytes_of(each)} bytes at most; {cell}{epsilon_of(each)}{hidden}{several}"
    lines = textwrap.wrap(
        f"{each.question}{about}: {told}",
        WIDTH,
        initial_indent="   ",
        subsequent_indent="     ",
    )
    lines.append(f"      of: {each.of}")
    lines += [f"      {array_words(array)}" for array in each.arrays]
    if each.fields:
        lines += textwrap.wrap(
            f"and in words and numbers: {', '.join(each.fields)}",
            WIDTH,
            initial_indent="      ",
            subsequent_indent="        ",
        )
    return lines + [f"      REFUSED: {each.refused}"] * bool(each.refused)


def mode_lines(found: Forecast) -> list[str]:
    """How the fusion layer is fitted."""
    return textwrap.wrap(found.mode, WIDTH)


def total_lines(found: Forecast) -> list[str]:
    """All bytes together, and what is hidden of them."""
    lines = [
        f"At most {found.most_bytes:,} bytes in all, beside what grows with patients and answers "
        "whose number is not known."
    ]
    masked = sum(each.masked for each in found.answers)
    if masked:
        lines.append(
            f"Secure sums: {masked} kinds of these answers leave under masks, as numbers of 256 "
            "bits (weights: 64), asked as sum_of_ and the name above. The server knows their total "
            "over all training sites alone."
        )
    return [wrapped for line in lines for wrapped in textwrap.wrap(line, WIDTH)]


def refusal_lines(found: Forecast) -> list[str]:
    """What the site's settings refuse."""
    return [f"The study will stop here: {why}" for why in found.refusals]


def array_words(array: Array) -> str:
    """Place, type, shape, and how many."""
    shape = " x ".join(f"{n:,}" if isinstance(n, int) else n for n in array.shape)
    many = f", {array.count} of them" if array.count > 1 else ""
    return f"{array.name or 'the answer'}: {array.dtype}[{shape}]{many}"


def times_of(each: Leaving) -> str:
    """How often, at most."""
    return "any" if each.times is None else f"{each.times:,}"


def bytes_of(each: Leaving) -> str:
    """The bytes of one answer, at most."""
    more = f" + {each.bytes_each:,}/{each.units[:-1]}" if each.bytes_each > 0 else ""
    return f"{each.n_bytes:,}{more}"


def cell_of(each: Leaving) -> str:
    """The smallest cell."""
    return "-" if each.least_cell is None else str(each.least_cell)


def epsilon_of(each: Leaving) -> str:
    """The epsilon of an answer that has one."""
    return "" if each.epsilon is None else f"; epsilon up to {each.epsilon:g}"


def as_json(found: Forecast) -> str:
    """All of it, for programs."""
    return json.dumps(asdict(found), indent=1)


def write_page(found: Forecast, path: Path) -> None:
    """Write the page."""
    environment = page_environment(Path(__file__).parent)
    environment.filters |= {
        "array": array_words, "times": times_of, "bytes": bytes_of, "cell": cell_of,
        "epsilon": epsilon_of,
    }  # fmt: skip
    text = environment.get_template("page.html.j2").render(
        found=found, explained=" ".join(EXPLAINED.split()), total=" ".join(total_lines(found))
    )
    write_atomically(path, text.encode())
