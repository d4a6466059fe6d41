"""What `catdog data check` prints: counts, each kind of finding, doubtful labels, copies and look-alikes."""

import shlex
from collections.abc import Iterator
from typing import Any

from .table import list_rows

SHOWN = 20  # of each list


def describe_check(report: Any) -> Iterator[str]:
    """Yield the lines of the table that `data check` prints."""
    from ...data.quality.check import COUNTED

    splits = list(report.counts)
    names = next(iter(report.counts.values()))
    rows = [(name, *(report.counts[split][name] for split in splits)) for name in names]
    yield from list_rows(("class", *splits), rows)
    yield ""
    yield f"{report.num_pictures:,} pictures; largest class to smallest: {report.imbalance:.2f} to 1"
    yield from report.notes
    yield from (f"Warning: {warning}" for warning in report.warnings)
    for kind, count in report.count_kinds().items():
        yield ""
        if kind in COUNTED:
            yield f"{count:,} {kind}: {COUNTED[kind]}"
            continue
        yield f"{count:,} {kind}"
        lines = [f"  {_show(found.path)}  {found.detail}" for found in report.findings if found.kind == kind]
        yield from _shorten(lines, report)
    yield from _describe_labels(report)
    yield from _describe_duplicates(report)


def _describe_labels(report: Any) -> Iterator[str]:
    if report.label_errors is None:
        return
    count = len(report.label_errors)
    yield ""
    yield f"{count:,} label{'s' * (count != 1)} probably wrong"
    yield from _shorten(
        [
            f"  {_show(found.path)}  {_show(found.class_name)}, perhaps {_show(found.suggested)} "
            f"({found.probability:.2f})"
            for found in report.label_errors
        ],
        report,
    )


def _describe_duplicates(report: Any) -> Iterator[str]:
    if not (report.findings or report.duplicates or report.label_errors):
        yield ""
        yield "Nothing is wrong with them."
    if not report.duplicates:
        return
    count = len(report.duplicates)
    yield ""
    yield f"{count:,} group{'s' * (count > 1)} of copies and look-alikes"
    lines = []
    for group in report.duplicates:
        marks = [group.kind]
        marks += ["LABELLED DIFFERENTLY"] if group.conflict else []
        marks += ["IN SEVERAL SPLITS"] if group.leak else []
        lines.append(
            f"  {', '.join(marks)}: {', '.join(map(_show, group.paths[:5]))}{' ...' * (len(group.paths) > 5)}"
        )
    yield from _shorten(lines, report)


def _shorten(lines: list[str], report: Any) -> Iterator[str]:
    yield from lines[:SHOWN]
    if len(lines) > SHOWN:
        command = shlex.join(["catdog", "data", "check", str(report.root), "--json"])
        yield f"  ... and {len(lines) - SHOWN:,} more; the full list: {command}"


def _show(path: str) -> str:
    """Return a path that is safe on a terminal: quoted where it holds line breaks or undecodable bytes."""
    return path if path.isprintable() else repr(path)
