"""The short form of scripts/fuzz: the same damaged inputs each time; what fails, hangs or grows is found."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from catdog_cli.errors import DataError
from catdog_cli.models import weights
from catdog_cli.runtime import startup

ROOT = Path(__file__).resolve().parents[1]
FUZZING = ROOT / "scripts" / "fuzzing"
INPUTS = {"picture": 400, "checkpoint": 40, "weights": 25, "resume": 25}
TEXTS = (
    *("manifest", "names", "options", "recipe", "sides", "list", "exclude", "prepared", "archive", "rows"),
    *("labels", "run", "data", "decisions", "form"),
)


@pytest.fixture
def child(monkeypatch):
    """Return the module that reads inputs, for which scripts/fuzz starts a process."""
    monkeypatch.syspath_prepend(str(FUZZING))
    monkeypatch.setattr(weights, "arch_names", weights.arch_names)  # `ease` changes it
    import child

    child.ease()
    return child


@pytest.mark.parametrize("target", [*INPUTS, *TEXTS])
def test_damaged_files_are_values_or_sentences(tmp_path, child, target):
    seeds, outcomes = tmp_path / "corpus", set()
    child.write_corpus(target, seeds)
    for number in range(INPUTS.get(target, 100)):
        name, data = child.make_input(target, 7, number, seeds)
        outcome, logged = child.try_input(target, child._place(target, name, data, seeds, tmp_path / "work"))
        assert outcome != "finding", f"{target} {number}: {logged}"
        outcomes.add(outcome)
    assert "refused" in outcomes
    assert "value" in outcomes or target == "recipe"  # hardly a change leaves that one whole


def test_one_seed_gives_one_input(tmp_path, child):
    child.write_corpus("names", tmp_path / "corpus")
    made = [child.make_input("names", seed, 3, tmp_path / "corpus") for seed in (1, 1, 2)]
    assert made[0] == made[1] != made[2]


def grow(path):
    return len(bytearray(b"x") * 600 * 2**20)  # three times the limit: pages of libraries may leave meanwhile


FAILURES = {
    "another error": (lambda path: {}["x"], "KeyError: 'x'"),
    "an endless sentence": (lambda path: (_ for _ in ()).throw(DataError("x" * 3000)), "xxx"),
    "too much memory": (grow, "memory grew by"),
}


@pytest.mark.parametrize(("read", "wanted"), FAILURES.values(), ids=FAILURES)
def test_a_reader_that_fails_is_found(tmp_path, child, monkeypatch, read, wanted):
    monkeypatch.setattr(child, "LIMIT_BYTES", 200 * 2**20)
    monkeypatch.setitem(child.TARGETS, "names", dataclasses.replace(child.TARGETS["names"], read=read))
    outcome, logged = child.try_input("names", tmp_path / "x")
    assert (outcome, wanted in logged) == ("finding", True)


BAD_READER = """
def _names(path):
    calls = Path(os.environ["CALLS"])
    calls.write_text(calls.read_text() + "x")
    os.abort() if calls.read_text() == "x" else [0 for _ in iter(int, 1)]


"""


@pytest.mark.slow
def test_a_reader_that_dies_or_hangs_is_found_and_kept(tmp_path):
    """Put such a reader in the place of a real one, in a copy; the rest is as scripts/fuzz does it."""
    copy, kept = tmp_path / "fuzzing", tmp_path / "kept"
    copy.mkdir()
    changes = {
        "__main__.py": [("ROOT = HERE.parents[1]", f"ROOT = Path({str(ROOT)!r})")],
        "child.py": [("LIMIT_S = 20", "LIMIT_S = 0.2")],
        "targets.py": [
            ("import shutil", "import os\nimport shutil"),
            ("TARGETS: dict", f"{BAD_READER}TARGETS: dict"),
            ('lambda path: load_category_names(path, ["cats", "dogs"])', "_names"),
        ],
    }
    for path in FUZZING.glob("*.py"):
        text = path.read_text()
        for old, new in changes.get(path.name, []):
            assert old in text
            text = text.replace(old, new, 1)
        (copy / path.name).write_text(text)
    (tmp_path / "calls").touch()
    command = [sys.executable, str(copy), "--target", "names", "--inputs", "2", "--keep", str(kept)]
    quick = {startup.ENABLED: "1"}  # torchvision is imported without torch's compiler
    environment = {**os.environ, **quick, "CALLS": str(tmp_path / "calls")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "2 findings, 2 different ones."), (
        done.stderr
    )
    logged = [(kept / f"names-0-{number}-names.json.txt").read_text() for number in (0, 1)]
    assert ["died with -6" in logged[0], "too slow" in logged[1]] == [True, True]
    assert (kept / "names-0-1-names.json").exists()
