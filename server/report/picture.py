"""A picture of the report: panels, drawn apart for the page and together for print."""

import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any, ClassVar

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

MARK = "synthetic data"
MADE_UP = f"{MARK}: every patient was made up by a computer"
INK = "#1b2733"
GREY = "#8a949e"
HEADLINE = "#0b2f5b"
COLOURS = ("#d55e00", "#009e73", "#0072b2", "#b0568f", "#b58900", "#4a9cc9", "#6b4c9a", "#7a7a7a")
DASHES = ((0, ()), (0, (5, 1.6)), (0, (1.4, 1.2)), (0, (6, 1.5, 1.2, 1.5)))

STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8.0,
    "text.color": INK,
    "text.parse_math": False,
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 8.0,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 8.8,
    "axes.titleweight": "bold",
    "grid.color": "#e6eaee",
    "grid.linewidth": 0.6,
    "legend.fontsize": 7.4,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "xtick.color": GREY,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 7.4,
    "ytick.color": GREY,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 7.4,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}
NO_DATES: dict[str, dict[str, None]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": dict.fromkeys(("CreationDate", "Creator", "Producer")),
    "png": {"Software": None},
}


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes: how it is drawn, what it shows in words, and its size in inches."""

    draw: Callable[[Axes], None]
    label: str
    size: tuple[float, float] = (3.5, 3.3)


@dataclass(frozen=True, slots=True)
class Picture:
    """A numbered figure: its panels, and a caption that says what it is and how it was had."""

    kind: ClassVar[str] = "figure"
    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    columns: int = 2


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows of a figure, the first one uppermost."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


def say_beside(axes: Axes, place: float, text: str, at: float = 1.03) -> None:
    """Text to the right of a row, its place in widths of the axes."""
    spot = ("axes fraction", "data")
    axes.annotate(text, (at, place), xycoords=spot, va="center", fontsize=7.4)


def to_svg(picture: Picture, *, synthetic: bool) -> list[str]:
    """Each panel as SVG that can stand inside a page, its ids unlike those of any other."""
    found = []
    for place, panel in enumerate(picture.panels):
        key = f"{picture.name}-{place + 1}"
        with _style(key):
            figure = _draw((panel,), columns=1, synthetic=synthetic)
            stream = io.StringIO()
            figure.savefig(stream, format="svg", metadata={"Date": None})
        found.append(_inline(stream.getvalue(), key=key, label=panel.label))
    return found


def to_files(picture: Picture, *, synthetic: bool, dpi: int) -> dict[str, bytes]:
    """All panels in one image, as the content of a file of each format: svg, pdf and png.

    No file says when or by which release of the drawing library it was made: the same picture
    gives the same bytes on one installation. The fonts of a PDF are in it, as TrueType.
    """
    found = {}
    with _style(picture.name):
        figure = _draw(picture.panels, columns=picture.columns, synthetic=synthetic)
        for form, metadata in NO_DATES.items():
            stream = io.BytesIO()
            figure.savefig(stream, format=form, dpi=dpi, metadata=metadata)
            found[form] = stream.getvalue()
    return found


@contextmanager
def _style(salt: str) -> Iterator[None]:
    with mpl.rc_context():
        mpl.rcdefaults()
        settings: dict[Any, Any] = {**STYLE, "svg.hashsalt": salt}
        mpl.rcParams.update(settings)
        yield


def _draw(panels: tuple[Panel, ...], *, columns: int, synthetic: bool) -> Figure:
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    width = max(panel.size[0] for panel in panels) * columns
    height = max(panel.size[1] for panel in panels) * rows
    figure = Figure(figsize=(width, height))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, panel in zip(grid, panels, strict=False):
        panel.draw(axes)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    _lay_out(figure)
    if synthetic:
        for axes in grid[: len(panels)]:
            _mark(axes, dpi=figure.dpi)
    return figure


def _lay_out(figure: Figure) -> None:
    """Find the axes' places once, by the widths of letters in SVG, whatever is saved afterwards.

    A layout engine that stays would draw the figure anew for each file, only to find the same.
    """
    dpi = figure.dpi
    FigureCanvasSVG(figure)
    ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08).execute(figure)
    figure.dpi = dpi  # the canvas has set its own


def _mark(axes: Axes, *, dpi: float) -> None:
    """The words across the axes, beneath the curves: a cropped image still says what it is."""
    box = axes.get_window_extent()
    angle = min(math.degrees(math.atan2(box.height, box.width)), 27.0)
    along = box.width / math.cos(math.radians(angle)) / dpi * 72
    axes.text(
        0.5,
        0.5,
        MARK,
        transform=axes.transAxes,
        rotation=angle,
        rotation_mode="anchor",
        ha="center",
        va="center",
        fontsize=max(0.82 * along / (0.65 * len(MARK)), 6.0),
        fontweight="bold",
        color="#c2410c",
        alpha=0.19,
        zorder=0.5,
    ).set_in_layout(False)


def _inline(svg: str, *, key: str, label: str) -> str:
    """Strip what only a file of its own needs, and give the ids that are used the figure's key."""
    body = svg[svg.index("<svg") :].strip()
    for waste in (r"<metadata>.*?</metadata>", r"<style[^>]*>.*?</style>", r"<!--.*?-->"):
        body = re.sub(waste, "", body, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', body))

    def keyed(match: re.Match[str]) -> str:
        tag = re.sub(
            r'\s+id="([^"]*)"',
            lambda found: f' id="{key}-{found[1]}"' if found[1] in used else "",
            match[0],
        )
        return re.sub(r'(url\(#|href="#)', rf"\g<1>{key}-", tag)

    head, rest = body.split(">", 1)
    head = re.sub(r'\s(?:width|height)="[^"]*"', "", head)
    head += f' role="img" aria-label="{escape(label)}"'
    return re.sub(r"<[^>]+>", keyed, f"{head}>{rest}")
