"""`catdog compare` on tiny pictures: the same pictures for both, matched classes, and what follows."""

import re

import pytest
import torch

from catdog_cli.cli import run
from catdog_cli.evaluation.compare import conclude
from tests.commands.trained import call, change_checkpoint, reverse_classes, train_tiny
from tests.conftest import write_images


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a run directory trained on a folder with train/ and val/."""
    root = tmp_path_factory.mktemp("trained")
    counts = {"train/cats": 12, "train/dogs": 12, "val/cats": 6, "val/dogs": 6}
    return train_tiny(write_images(root / "pets", counts), root / "run")


def always_say(checkpoint, target, place):
    """Write a checkpoint that gives output `place` to every picture."""
    state = dict(torch.load(checkpoint / "best.pt", weights_only=True)["state_dict"])
    weight, bias = [name for name in state if name.startswith("head.")][-2:]
    state[weight] = torch.zeros_like(state[weight])
    state[bias] = 3 * torch.eye(len(state[bias]))[place]
    return change_checkpoint(checkpoint, target, state_dict=state)


def test_counts_and_differences_of_two_that_differ(capsys, tmp_path, trained):
    data = write_images(tmp_path / "new", {"val/cats": 9, "val/dogs": 3})
    first, second = (always_say(trained, tmp_path / f"{i}.pt", i) for i in (0, 1))
    code, found, _ = call(capsys, "compare", first, second, "--data", data)
    assert (code, found["num_samples"], found["split"]) == (0, 12, "val")
    assert (found["accuracy_a"], found["accuracy_b"]) == (0.75, 0.25)
    assert found["accuracy_difference"] == -0.5
    low, high = found["accuracy_interval"]
    assert low < -0.5 < high
    assert found["accuracy_a_interval"][0] < 0.75 < found["accuracy_a_interval"][1]
    counts = [found[name] for name in ("only_a_right", "only_b_right", "both_right", "both_wrong")]
    assert counts == [9, 3, 0, 0]
    assert found["mcnemar_p"] == pytest.approx(2 * sum((1, 12, 66, 220)) / 2**12)
    assert len(found["disagreements"]) == 12
    assert {item["first"] for item in found["disagreements"]} == {"cats"}
    assert found["conclusion"].startswith("No evidence that they differ: of the 12 pictures")


def test_the_table_has_it_all_and_one_sentence(capsys, tmp_path, trained):
    data = write_images(tmp_path / "new", {"val/cats": 12, "val/dogs": 1})
    first, second = (always_say(trained, tmp_path / f"{i}.pt", i) for i in (0, 1))
    capsys.readouterr()
    assert run(["compare", str(first), str(second), "--data", str(data)]) == 0
    printed = capsys.readouterr()
    for text in ("first", "second", "second - first", "95 % interval", "92.3", "-84.6", "McNemar's p"):
        assert text in printed.out
    assert re.search(r"13 pictures\. The first is better: of the 13 pictures .* only 0\.3 %\.", printed.out)
    assert "Measuring simple_cnn and simple_cnn on 13 pictures (val)" in printed.err


def test_classes_in_another_order_are_the_same_network(capsys, tmp_path, trained, pets):
    turned = reverse_classes(trained, tmp_path / "turned.pt")
    code, found, talk = call(capsys, "compare", trained, turned, "--data", pets)
    assert (code, found["only_a_right"], found["only_b_right"], found["disagreements"]) == (0, 0, 0, [])
    assert found["accuracy_a"] == found["accuracy_b"]
    assert found["loss_difference"] == pytest.approx(0, abs=1e-12)
    assert found["conclusion"].endswith("they are right on exactly the same pictures.")
    assert "Warning" not in talk


def test_a_class_that_only_one_knows(capsys, tmp_path, trained, pets):
    more = reverse_classes(trained, tmp_path / "more.pt", extra=("birds",))
    code, found, talk = call(capsys, "compare", trained, more, "--data", pets)
    assert (code, found["num_samples"]) == (0, 12)
    assert f"Warning: only '{more}' knows 'birds'." in talk
    birds = write_images(tmp_path / "birds", {"val/birds": 2, "val/cats": 2})
    for pair in ((trained, more), (more, trained)):
        code, found, talk = call(capsys, "compare", *pair, "--data", birds)
        assert (code, found) == (1, None)
        assert f"holds 'birds', which '{trained}' does not know" in talk


def test_unreadable_pictures_count_for_neither(capsys, trained, pets):
    (pets / "val" / "cats" / "0.png").write_bytes(b"no picture")
    _, found, talk = call(capsys, "compare", trained, trained, "--data", pets)
    assert (found["num_samples"], found["num_unreadable"]) == (11, 1)
    assert found["unreadable"][0]["path"] == "val/cats/0.png"
    assert "Skipped: " in talk


def test_excluded_pictures_count_for_neither(capsys, tmp_path, trained):
    data = write_images(tmp_path / "new", {"val/cats": 9, "val/dogs": 3})
    first, second = (always_say(trained, tmp_path / f"{i}.pt", i) for i in (0, 1))
    bad = tmp_path / "bad.txt"
    bad.write_text(f"val/cats/0.png\n{data / 'val' / 'dogs' / '2.png'}\nval/cats/gone.png\n")
    code, found, talk = call(capsys, "compare", first, second, "--data", data, "--exclude", bad)
    assert (code, found["num_samples"]) == (0, 10)
    counts = [found[name] for name in ("only_a_right", "only_b_right", "both_right", "both_wrong")]
    assert counts == [8, 2, 0, 0]
    paths = [item["path"] for item in found["disagreements"]]
    assert len(paths) == 10
    assert not any(path.endswith(("cats/0.png", "dogs/2.png")) for path in paths)
    assert "1 of 3 excluded pictures are not in the data: " in talk


def test_only_pictures_that_both_runs_kept_apart_count(capsys, tmp_path):
    data = write_images(tmp_path / "plain", {"cats": 20, "dogs": 20})
    runs = [
        train_tiny(data, tmp_path / f"run{seed}", "--val-fraction", "0.5", "--seed", str(seed))
        for seed in (0, 1)
    ]
    kept = [
        {line.split(",")[0] for line in (path / "split.csv").read_text().splitlines() if ",val" in line}
        for path in runs
    ]
    code, found, talk = call(capsys, "compare", *runs, "--data", data)
    assert code == 0
    assert found["num_samples"] == len(kept[0] & kept[1]) < len(kept[0])
    assert "kept apart" in talk
    (runs[1] / "split.csv").write_text(
        "path,class,split\n" + "".join(f"{path},cats,train\n" for path in sorted(kept[0]))
    )
    code, found, talk = call(capsys, "compare", *runs, "--data", data)
    assert (code, found) == (1, None)
    assert "was kept apart by every run: measure on other pictures, or on these with --split all." in talk
    assert call(capsys, "compare", *runs, "--data", data, "--split", "all")[1]["num_samples"] == 40


@pytest.mark.parametrize(
    ("only_a", "only_b", "chance", "sentence"),
    [
        (0, 0, 1.0, "No evidence that they differ: they are right on exactly the same pictures."),
        (5, 4, 1.0, "No evidence that they differ: of the 9 pictures that only one .* chance of 100.0 %."),
        (1, 12, 0.0034, "The second is better: .* the first has 1 and the second 12, .* only 0.3 %."),
        (40, 1, 1e-9, "The first is better: .* with a chance of less than 0.1 %."),
    ],
)
def test_the_conclusion_is_plain(only_a, only_b, chance, sentence):
    found = {"only_a_right": only_a, "only_b_right": only_b, "mcnemar_p": chance}
    assert re.fullmatch(sentence, conclude(found))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["RUN", "--data", "PETS"], 2, "Missing argument 'SECOND'"),
        (["RUN", "RUN"], 2, "Missing option '--data'"),
        (["RUN", "nowhere.pt", "--data", "PETS"], 1, r"No checkpoint at 'nowhere\.pt'"),
        (["RUN", "RUN", "--data", "nowhere"], 1, "The data folder 'nowhere' does not exist"),
        (["RUN", "RUN", "--data", "PETS", "--split", "test"], 1, "has no split 'test'"),
        (["RUN", "RUN", "--data", "PETS", "--exclude", "no.txt"], 1, "Cannot read the exclude list 'no.txt'"),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_sentence(capsys, trained, pets, arguments, code, message):
    places = {"PETS": str(pets), "RUN": str(trained)}
    capsys.readouterr()
    assert run(["compare", *(places.get(part, part) for part in arguments)]) == code
    printed = capsys.readouterr()
    assert re.search(message, printed.err)
    assert printed.out == ""
