"""Print the lower bound of every dependency as a constraint, for a run of the tests with the oldest ones.

python scripts/oldest.py > oldest.txt; pip install -e '.[dev]' -c oldest.txt
"""

import configparser
import re
from pathlib import Path

BOUND = re.compile(r"^([A-Za-z0-9._-]+)>=([0-9.]+)$")


def list_bounds(setup: Path) -> list[str]:
    """Return "name==bound" of all requirements in a setup.cfg that have one, the extras' too."""
    parser = configparser.ConfigParser()
    parser.read(setup, encoding="utf-8")
    texts = [parser["options"]["install_requires"], *parser["options.extras_require"].values()]
    lines = [line.strip() for text in texts for line in text.splitlines()]
    found = dict(match.groups() for line in lines if (match := BOUND.match(line)))
    return [f"{name}=={bound}" for name, bound in sorted(found.items())]


if __name__ == "__main__":
    print("\n".join(list_bounds(Path(__file__).resolve().parents[1] / "setup.cfg")))
