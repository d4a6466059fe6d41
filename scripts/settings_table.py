"""Prints docs/settings.md: every option of `catdog train` that is a setting, from what it says of itself."""

import math

from catdog_cli.settings import list_options, option_name
from catdog_cli.settings_schema import GROUPS, Setting

START = """# Settings

What `catdog train` can be told: in the command line, in an option file (`--config FILE.toml`, names with `-`
or `_`), from Python (`catdog_cli.train`, names with `_`) and, for what belongs to a phase, in a recipe. A
value outside its bounds is refused, and so is an option that would do nothing beside others. *Resume*:
whether `catdog train --resume RUN` may be given another value.

This page is made by `scripts/settings-table`.
"""
KINDS = {int: "whole number", float: "number", bool: "yes or no", str: "text", tuple: "list of whole numbers"}


def build_page() -> str:
    """Return the page as Markdown: a table for each group of options."""
    options = list_options()
    parts = [START]
    for group in GROUPS:
        rows = [_row(name, setting) for name, setting in options.items() if setting.group == group]
        head = ["| option | what it is | value | default | resume |", "| --- | --- | --- | --- | --- |"]
        parts.append("\n".join([f"## {group}\n", *head, *rows]) + "\n")
    return "\n".join(parts)


def _row(name: str, setting: Setting) -> str:
    cells = (
        f"`{option_name(name)}`",
        setting.help,
        _value(setting),
        setting.default or "",
        "yes" if setting.on_resume else "",
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _value(setting: Setting) -> str:
    if setting.choices:
        return ", ".join(setting.choices)
    if setting.metavar and setting.kind is str:
        return setting.metavar
    kind = KINDS[setting.kind]
    if setting.high < 2**60:
        return f"{kind}, {setting.low:g} to {setting.high:g}"
    return kind if setting.low == -math.inf else f"{kind}, at least {setting.low:g}"


if __name__ == "__main__":
    print(build_page(), end="")
