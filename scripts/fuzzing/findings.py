"""What the fuzzer found: told apart by where it happened, kept as the input and what was said of it."""

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """An input that no reader should fail on; `make_input` of `child` makes it again from these."""

    target: str
    seed: int
    number: int
    name: str
    output: str
    folder: Path


def sign(finding: Finding) -> str:
    """Return what is alike in findings with one cause: the last lines of code, and the kind of error."""
    places = re.findall(r'File "(?:[^"]*/)?([^"/]+)", line (\d+)', finding.output)[-3:]
    last = finding.output.strip().splitlines()[-1] if finding.output.strip() else "nothing was said"
    return f"{finding.target} {places} {re.sub('[0-9]+', 'N', last)[:40]}"


def keep(finding: Finding, folder: Path) -> Path:
    """Write the input and what was said; return the input's path."""
    from child import make_input

    name, data = make_input(
        finding.target, finding.seed, finding.number, finding.folder / "corpus" / finding.target
    )
    path = folder / f"{finding.target}-{finding.seed}-{finding.number}-{name}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.with_name(path.name + ".txt").write_text(finding.output, errors="backslashreplace")
    return path
