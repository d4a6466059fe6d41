"""The paper that every picture is drawn on: figure, colours, names that fit, saving.

Figures are made without pyplot, so that they need no screen and share no state between threads. Blue is
right, or validation; orange is wrong, or marked.
"""

import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO, Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text

from ..errors import CatdogError, SettingsError
from ..runtime.files import replacing

DPI = 150
INK, SOFT, FAINT = "#1f2937", "#6b7280", "#e5e7eb"
BLUE, ORANGE, GREY = "#2563eb", "#ea580c", "#94a3b8"
# For names that matplotlib's own font has no letters for; those that are installed are used.
FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "PingFang SC", "Hiragino Sans", "Microsoft YaHei"),
    *("Malgun Gothic", "Noto Sans Arabic", "Noto Sans Devanagari", "Noto Sans Thai", "Nirmala UI"),
    *("Arial Unicode MS", "Noto Emoji", "Segoe UI Emoji"),
)


def make_figure(width: float, height: float, dpi: int = DPI) -> Figure:
    """Return an empty figure, sizes in inches, whose labels find room by themselves."""
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12, wspace=0.03, hspace=0.03)
    return Figure(figsize=(width, height), dpi=dpi, facecolor="white", layout=layout)


def make_sheet(width: float, height: float, title: str, dpi: int = DPI) -> Figure:
    """Return an empty figure with a title, for `place_axes`: finding room takes as long as drawing."""
    figure = Figure(figsize=(width, height), dpi=dpi, facecolor="white")
    x, y = 0.2 / width, 1 - 0.2 / height
    figure.text(x, y, title, fontsize=14, fontweight="bold", color=INK, ha="left", va="top")
    return figure


def place_axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Return new axes of a size and at a distance from the upper left corner, all in inches."""
    across, down = figure.get_size_inches()
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def clean_axes(axes: Axes) -> None:
    """Leave a light grid and two thin edges."""
    axes.grid(color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#d1d5db")
    axes.tick_params(colors=SOFT, labelsize=9, length=0, which="both")
    axes.xaxis.label.set_color(SOFT)
    axes.yaxis.label.set_color(SOFT)


def write_title(
    axes: Axes, title: str, note: str, pad: float = 24, lift: float = 8, size: float = 10
) -> None:
    """Write a bold title and, under it, what to make of the picture; `pad` and `lift` in points."""
    axes.set_title(title, loc="left", fontsize=14, fontweight="bold", color=INK, pad=pad, y=1)
    axes.annotate(
        note,
        xy=(0, 1),
        xycoords="axes fraction",
        xytext=(0, lift),
        textcoords="offset points",
        fontsize=size,
        color=SOFT,
    )


def draw_message(title: str, text: str, path: Path | str | IO[bytes]) -> None:
    """Write a picture that only says something, where there is nothing to draw."""
    figure = make_figure(6, 3)
    figure.text(0.5, 0.58, title, ha="center", fontsize=20, fontweight="bold", color=BLUE)
    figure.text(0.5, 0.4, text, ha="center", fontsize=12, color=SOFT)
    save_figure(figure, path)


def fit_label(name: object, letters: int) -> str:
    """Return a name that fits in so many letters and means itself, not mathematics."""
    text = " ".join(str(name).encode("utf-8", "replace").decode().split())
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    text = text if len(text) <= letters else text[: max(1, letters - 1)] + "…"
    return text.replace("$", r"\$")


def show_percent(fraction: float) -> str:
    """Return a fraction as a percentage that is 100 or 0 only if it is."""
    if 0.9995 <= fraction < 1:
        return "> 99.9 %"
    return "< 0.1 %" if 0 < fraction < 0.0005 else f"{100 * fraction:.1f} %"


@cache
def _families() -> list[str]:
    installed = set(fontManager.get_font_names())
    return ["DejaVu Sans", *(name for name in FONTS if name in installed)]


def _find_texts(artist: Artist) -> Iterator[Text]:
    """Yield all texts; `findobj` would make ticks for axes that show none, and take longer than drawing."""
    if isinstance(artist, Text):
        yield artist
    hidden = (artist.xaxis, artist.yaxis) if isinstance(artist, Axes) and not artist.axison else ()
    for child in artist.get_children():
        if child not in hidden:
            yield from _find_texts(child)


def check_suffix(path: Path | str) -> str:
    """Return the format that a picture's name stands for, such as "png".

    Raises:
        SettingsError: matplotlib writes no such format.
    """
    kinds = set(FigureCanvasAgg.get_supported_filetypes()) - {"pgf"}  # it needs LaTeX
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in kinds:
        raise SettingsError(
            f"Cannot draw into {str(path)!r}: give a name that ends in one of .{', .'.join(sorted(kinds))}."
        )
    return kind


def save_figure(figure: Figure, path: Path | str | IO[bytes]) -> None:
    """Write the figure under a temporary name, then rename it; into an open file as a PNG.

    Raises:
        SettingsError: the suffix is of no format that matplotlib writes.
        CatdogError: the place cannot be written.
    """
    if not isinstance(path, (Path, str)):
        _draw(figure, path, "png")
        return
    path = Path(path)
    kind = check_suffix(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as unfinished:
            _draw(figure, unfinished, kind)
    except (OSError, ValueError, RuntimeError) as error:  # too many pixels; the user's own LaTeX fails
        reason = getattr(error, "strerror", None) or error
        raise CatdogError(f"Cannot write the picture {str(path)!r}: {reason}; give another name.") from error


def _draw(figure: Figure, file: Path | IO[bytes], kind: str) -> None:
    for text in _find_texts(figure):
        text.set_fontfamily(_families())
    # Level 1 of zlib: a sheet of photographs in a fifth of the time, hardly larger.
    how: dict[str, Any] = {"pil_kwargs": {"compress_level": 1}} if kind == "png" else {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a box stands for a letter no font has
        figure.savefig(file, format=kind, dpi=figure.dpi, **how)
