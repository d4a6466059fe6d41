"""Text from files and checkpoints, made safe to show."""

from collections.abc import Iterable

from ..errors import quote


def printable(text: str) -> str:
    """Return text that no terminal chokes on: newlines, escapes and undecodable bytes spelled out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def show_percent(fraction: float) -> str:
    """Return a fraction as a percentage that is 100 or 0 only if it is."""
    if 0.99995 <= fraction < 1:
        return "> 99.99 %"
    return "< 0.01 %" if 0 < fraction < 0.00005 else f"{100 * fraction:.2f} %"


def name_some(names: Iterable[str], most: int = 5) -> str:
    """Return names as a sentence lists them, quoted, the first `most` of many: 'a', 'b' and 35 more."""
    quoted = [quote(name) for name in names]
    more = f" and {len(quoted) - most:,} more" if len(quoted) > most else ""
    return ", ".join(quoted[:most]) + more
