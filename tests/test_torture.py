"""The short form of scripts/torture: real processes, killed; and that it finds what is lost."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from catdog_cli.runs.compare_runs import compare_runs, find_damage, find_differences
from tests.conftest import PATIENCE_S, write_images
from tests.training.runs import load, settings_for, train

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="scripts/torture copies itself by fork")
def test_nothing_is_lost(tmp_path):
    options = ["--kills", "3", "--seed", "3", "--recipes", "scratch"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "torturing"), *options],
        env={**os.environ, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    total = [cell.strip() for cell in re.search(r"\| in all (.*)", done.stdout).group(1).split("|")[1:-1]]
    assert int(total[1]) >= 3
    assert total[-1] == "0"
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_recipe_is_wrong_usage():
    call = [sys.executable, str(ROOT / "scripts" / "torturing"), "--recipes", "haed"]
    done = subprocess.run(call, capture_output=True, text=True)
    assert (done.returncode, "no recipe 'haed'" in done.stderr) == (2, True)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Return the directories of two equal runs."""
    folder = tmp_path_factory.mktemp("pair")
    data = write_images(folder / "data", {"train/a": 4, "train/b": 4, "val/a": 2, "val/b": 2})
    for name in ("first", "second"):
        train(settings_for(data), folder / name)
    return folder


@pytest.fixture
def changed(pair, tmp_path):
    """Return the first run, and a copy of the second that a test may change."""
    return pair / "first", shutil.copytree(pair / "second", tmp_path / "second")


def resave(run_dir, change):
    import torch

    content = load(run_dir)
    change(content)
    torch.save(content, run_dir / "last.pt")


def test_equal_runs_are_equal(pair):
    assert compare_runs(pair / "first", pair / "second") == []


DAMAGES = {
    "a bit of a weight": (
        lambda c: c["state_dict"]["head.output.bias"].view(int_kind()).bitwise_xor_(1),
        "last.pt: state_dict.head.output.bias",
    ),
    "a bit of the optimizer": (
        lambda c: c["optimizer"]["state"][0]["exp_avg"].view(int_kind()).bitwise_xor_(1),
        r"last.pt: optimizer.state.0.exp_avg",
    ),
    "a row": (lambda c: c["history"].pop(), r"last.pt: history: \[.* and \["),
    "a number": (
        lambda c: c["history"][0].update(val_loss=0.5),
        r"last.pt: history\[0\].val_loss: .* and 0.5",
    ),
    "a key": (lambda c: c.update(more=1), "last.pt: more is only in one of the runs"),
}


def int_kind():
    import torch

    return torch.int32


@pytest.mark.parametrize(("change", "match"), DAMAGES.values(), ids=DAMAGES)
def test_a_difference_is_found(changed, change, match):
    resave(changed[1], change)
    found = compare_runs(*changed)
    assert len(found) == 1
    assert re.match(match, found[0])


def test_times_are_no_difference(changed):
    resave(changed[1], lambda content: content["history"][0].update(seconds=1e9))
    assert compare_runs(*changed) == []


def test_another_file_is_a_difference(changed):
    (changed[1] / ".last.pt.7.tmp").touch()
    assert compare_runs(*changed) == [".last.pt.7.tmp: only in one of the runs"]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (float("nan"), float("nan"), True),
        (0.0, -0.0, False),
        (1, 1.0, False),
        ((1,), [1], True),
        (None, 0, False),
    ],
)
def test_plain_values(first, second, same):
    assert (list(find_differences(first, second)) == []) is same


@pytest.mark.parametrize("name", ["last.pt", "best.pt", "settings.json", "history.jsonl"])
def test_half_a_file_is_found(changed, name):
    path = changed[1] / name
    path.write_bytes(path.read_bytes()[:-20])
    assert [text.partition(":")[0] for text in find_damage(changed[1])] == [name]
    assert find_damage(changed[0]) == []


def test_a_number_expanded_to_a_tensor_is_compared_as_its_bytes():
    """What numpy or `expand` makes of one number may have a stride of 0, and is contiguous to torch."""
    expanded = torch.tensor(3, dtype=torch.int32).expand(1)
    assert expanded.stride() == (0,)
    assert list(find_differences({"rng": expanded}, {"rng": torch.tensor([3], dtype=torch.int32)})) == []
    assert list(find_differences({"rng": expanded}, {"rng": torch.tensor([4], dtype=torch.int32)})) != []
