"""Text from files and checkpoints, made safe to show."""


def printable(text: str) -> str:
    """Return text that no terminal chokes on: newlines, escapes and undecodable bytes spelled out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
