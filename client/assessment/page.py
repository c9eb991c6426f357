"""The appendix as a page that can be printed."""

from pathlib import Path

from client.assessment.appendix import Appendix
from client.forecast.words import bytes_of, cell_of, epsilon_of, times_of
from shared.files import write_atomically
from shared.pages import page_environment


def write_page(found: Appendix, path: Path) -> None:
    """Write the page."""
    here = Path(__file__).parent
    environment = page_environment(here, here.with_name("forecast"))
    environment.filters |= {
        "times": times_of, "bytes": bytes_of, "cell": cell_of, "epsilon": epsilon_of,
    }  # fmt: skip
    text = environment.get_template("page.html.j2").render(found=found)
    write_atomically(path, text.encode())
