"""A check's report as one HTML file with thumbnails in it, and as an exclude list."""

import base64
import html
import io
import json
import os
from pathlib import Path

from PIL import Image

from ...errors import DataError
from ...images.read import ImageError, read_image
from ...runtime.files import write_atomic
from .check import CheckReport, Duplicates, Finding
from .label_errors import LabelError

THUMBNAIL_PX = 112
MAX_SHOWN = 200  # of each kind: a page of thousands of pictures opens nowhere
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; color: #1b1f24 }
table { border-collapse: collapse } td, th { padding: .2rem .9rem .2rem 0; text-align: left }
td.n { text-align: right; font-variant-numeric: tabular-nums }
.row { display: flex; flex-wrap: wrap; gap: 1rem; margin: 0 0 1rem; padding: .6rem; background: #f4f6f8 }
figure { margin: 0; width: 9rem; overflow-wrap: anywhere; font-size: 12px } img { display: block }
.none { width: 112px; height: 80px; background: #d7dce1; display: grid; place-items: center }
.bad { color: #a40e26 }
"""


def write_page(report: CheckReport, path: str | Path) -> None:
    """Write the report as a self-contained page; the pictures are read again, to be shown small.

    Raises:
        DataError: the file cannot be written.
    """
    data = build_page(report).encode("utf-8", "backslashreplace")
    write_atomic(Path(path), data, DataError, "choose another place", parents=True)


def write_exclude_list(report: CheckReport, path: str | Path) -> None:
    """Write the paths to leave out, one a line as `scan_dataset(exclude=)` reads them; odd ones as JSON.

    Raises:
        DataError: the file cannot be written.
    """
    lines = [json.dumps(name) if _is_odd(name) else name for name in report.list_excluded()]
    data = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
    write_atomic(Path(path), data, DataError, "choose another place", parents=True)


def _is_odd(name: str) -> bool:
    return name.startswith(('"', "\ufeff")) or "\n" in name or "\r" in name


def build_page(report: CheckReport) -> str:
    """Return the HTML of `write_page`."""
    title = html.escape(f"Check of {os.fsdecode(report.root)}")
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>",
        f"<h1>{title}</h1><p>{report.num_pictures:,} pictures; the largest class has {report.imbalance:.1f} "
        "times as many as the smallest.</p>",
        _count_table(report),
        *(f"<p class=bad>{html.escape(warning)}</p>" for warning in report.warnings),
        *(_finding_section(report, kind, count) for kind, count in report.count_kinds().items()),
        _label_section(report),
        _duplicate_section(report),
    ]
    return "\n".join(parts) + "</html>\n"


def _count_table(report: CheckReport) -> str:
    splits = list(report.counts)
    head = "".join(f"<th>{html.escape(name)}" for name in ("class", *splits))
    rows = []
    for name in next(iter(report.counts.values())):
        cells = "".join(f"<td class=n>{report.counts[split][name]:,}" for split in splits)
        rows.append(f"<tr><td>{html.escape(name)}{cells}")
    return f"<table><tr>{head}{''.join(rows)}</table>"


def _finding_section(report: CheckReport, kind: str, count: int) -> str:
    shown = [finding for finding in report.findings if finding.kind == kind][:MAX_SHOWN]
    figures = "".join(_finding_figure(report, finding) for finding in shown)
    return f"<h2>{count:,} {kind}{_shown_note(count)}</h2><div class=row>{figures}</div>"


def _finding_figure(report: CheckReport, finding: Finding) -> str:
    return _figure(report.root, finding.path, f"{finding.path}: {finding.detail}")


def _label_section(report: CheckReport) -> str:
    if report.label_errors is None:
        return ""
    count = len(report.label_errors)
    figures = "".join(_label_figure(report.root, found) for found in report.label_errors[:MAX_SHOWN])
    title = f"{count:,} label{'' if count == 1 else 's'} probably wrong{_shown_note(count)}"
    return f"<h2>{title}</h2>" + (f"<div class=row>{figures}</div>" if figures else "")


def _label_figure(root: Path, found: LabelError) -> str:
    caption = f"{found.path}: {found.class_name}, perhaps {found.suggested} ({found.probability:.2f})"
    return _figure(root, found.path, caption)


def _duplicate_section(report: CheckReport) -> str:
    if not report.duplicates:
        return "<h2>No duplicates</h2>"
    groups = "".join(_duplicate_row(report.root, group) for group in report.duplicates[:MAX_SHOWN])
    count = len(report.duplicates)
    return f"<h2>{count:,} group{'' if count == 1 else 's'} of duplicates{_shown_note(count)}</h2>{groups}"


def _duplicate_row(root: Path, group: Duplicates) -> str:
    marks = [group.kind]
    marks += ["<b class=bad>labelled differently</b>"] if group.conflict else []
    marks += ["<b class=bad>in several splits</b>"] if group.leak else []
    figures = "".join(_figure(root, path, path) for path in group.paths[:12])
    return f"<p>{', '.join(marks)}, {len(group.paths)} pictures</p><div class=row>{figures}</div>"


def _shown_note(count: int) -> str:
    return f", the first {MAX_SHOWN} of them" if count > MAX_SHOWN else ""


def _figure(root: Path, path: str, caption: str) -> str:
    return f"<figure>{_thumbnail(root / path)}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _thumbnail(path: Path) -> str:
    try:
        image = read_image(path, THUMBNAIL_PX)
    except ImageError:
        return "<div class=none>unreadable</div>"
    image = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    data = io.BytesIO()
    image.save(data, "JPEG", quality=80)
    text = base64.b64encode(data.getvalue()).decode("ascii")
    return f'<img alt="" width={image.width} height={image.height} src="data:image/jpeg;base64,{text}">'
