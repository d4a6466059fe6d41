"""What was measured of strangers, as rows and pictures of a report."""

from pathlib import Path
from typing import Any

MOST_FOOLED = 30  # on the contact sheet; report.json has all
PHOTO_PX = 160
Row = tuple[str, ...]


def list_strangers(document: dict[str, Any]) -> list[Row]:
    """Return (name, value, 95 % interval) rows as text of what was measured of strangers, if anything was."""
    rows: list[Row] = []
    found = document.get("strangers")
    if found:
        at = f"{100 * found['rate']:g} %"
        rows += [
            ("strangers: AUROC", f"{found['auroc']:.4f}", _show_pair(found["auroc_interval"])),
            (f"strangers found at {at}", *_show_share(found, "found")),
            (f"own called unknown at {at}", *_show_share(found, "false_alarms")),
        ]
    for name, row in ((document.get("left_out") or {}).get("classes") or {}).items():
        rows.append((f"left out, {name}: AUROC", f"{row['auroc']:.4f}", _show_pair(row["auroc_interval"])))
        rows.append((f"left out, {name}: found at {100 * row['rate']:g} %", *_show_share(row, "found")))
    return rows


def _show_share(found: dict[str, Any], name: str) -> Row:
    return f"{found[name]:.4f}", _show_pair(found[f"{name}_interval"])


def _show_pair(pair: list[float] | None) -> str:
    return "" if pair is None else f"{pair[0]:.4f} to {pair[1]:.4f}"


def draw_strangers(directory: Path, found: dict[str, Any] | None, dpi: int = 150) -> dict[str, Path]:
    """Draw the histogram of both and the strangers that fooled it most; return the files by heading.

    Raises:
        CatdogError: something cannot be written.
    """
    if not found:
        return {}
    from .. import plots
    from ..images.read import ImageError, read_image

    histogram, sheet = directory / "strangers.png", directory / "fooled.png"
    plots.plot_strangers(found["histogram"], found["rate"], histogram, dpi)
    items = []
    for row in found["fooled"][:MOST_FOOLED]:
        try:
            image = read_image(row["path"], PHOTO_PX).permute(1, 2, 0).numpy()
        except ImageError:  # of a prepared folder, or gone meanwhile
            continue
        items.append({**row, "image": image})
    plots.plot_fooled(items, sheet, len(found["fooled"]), dpi)
    return {"Known and strange": histogram, "Strangers taken for known": sheet}
