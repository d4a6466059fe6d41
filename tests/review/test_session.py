"""What a review shows, and what becomes of decisions: in its file, and on the next start."""

import numpy as np
import pytest

from catdog_cli.data.decisions import read_decisions, read_rows
from catdog_cli.data.digests import file_digest
from catdog_cli.data.scan import scan_dataset
from catdog_cli.errors import CatdogError, DataError
from catdog_cli.inference.predictor import Predictor
from catdog_cli.review.evidence import Checkpoint
from catdog_cli.review.groups import strangers
from tests.commands.trained import train_tiny
from tests.conftest import draw_image
from tests.review.reviewed import PLANTED, group, paths, reopen, write_run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("review"))


@pytest.fixture
def review(made, tmp_path):
    return reopen(*made, tmp_path / "reviewed.csv")


def number_of(review, path):
    return next(number for number, picture in enumerate(review.pictures) if picture.path == path)


def test_planted_wrong_labels_come_first(review):
    doubtful = group(review, "doubtful").cases
    assert set(paths(review, doubtful[:2])) == set(PLANTED)
    assert "A classifier trained on the other pictures says" in doubtful[0].why


def test_copies_across_splits_stand_beside_each_other(review):
    (case,) = group(review, "alike").cases
    assert paths(review, [case]) == ["train/cats/0.png", "val/cats/copy.png"]
    assert case.why == "These 2 pictures are the same to the byte, and in train and val."


def test_damaged_pictures_have_a_group(review):
    assert paths(review, group(review, "damaged").cases) == ["train/dogs/broken.png"]


def test_mistakes_and_the_matrix_are_what_the_checkpoint_says(review):
    said = {number: review.answers.said(number) for number in range(len(review.pictures))}
    wrong = {n for n, names in said.items() if names and names[0] != review.pictures[n].labels[0]}
    cases = group(review, "mistakes").cases
    assert {case.pictures[0] for case in cases} == wrong
    sure = [review.answers.probability(n, said[n][0]) for case in cases for n in case.pictures]
    assert sure == sorted(sure, reverse=True)
    counts = review.confusion.counts()
    assert sum(map(sum, counts)) == len(review.pictures) - 1  # the damaged one
    assert counts[0][1] + counts[1][0] == len(wrong)
    cell = review.describe_cell(0, 1)
    assert len(cell["cases"]) == counts[0][1]
    assert {review.pictures[int(n)].labels for n in cell["pictures"]} <= {("cats",)}


def test_strangers_are_those_of_the_predictor(made):
    dataset, checkpoint = scan_dataset(made[0], leaks=False), Checkpoint.load(made[1], "cpu")
    found = checkpoint.collect(dataset, lambda done, total: None)
    sources = [
        dataset.source(side, place) for side in dataset.splits for place in range(len(dataset.splits[side]))
    ]
    answers = list(Predictor.load(made[1], device="cpu").predict(sources))
    known = [1.0 if answer.known is None else answer.known.p_value for answer in answers]
    np.testing.assert_allclose(found.strangeness, known, atol=0.02)
    rate = float(np.sort(known)[2])
    cases = list(strangers(found, rate))
    assert sum(p <= rate for p in found.strangeness) == len(cases) >= 1
    shares = [found.strangeness[case.pictures[0]] for case in cases]
    assert shares == sorted(shares)


def test_decisions_are_written_at_once_and_found_again(review, made, tmp_path):
    first, second = (number_of(review, path) for path in PLANTED)
    review.decide(first, "wrong", ["dogs"])
    review.decide(second, "exclude", [])
    rows = read_rows(tmp_path / "reviewed.csv")
    assert [(row.path, row.label, row.decision, row.new_label) for row in rows] == [
        (PLANTED[0], "cats", "wrong", "dogs"),
        (PLANTED[1], "dogs", "exclude", ""),
    ]
    assert rows[0].key == file_digest(made[0] / PLANTED[0])
    assert rows[0].checkpoint == file_digest(made[1] / "best.pt")
    again = reopen(*made, tmp_path / "reviewed.csv")
    found = again.describe()["pictures"]
    assert (found[first]["decision"], found[first]["new"]) == ("wrong", ["dogs"])
    assert found[second]["decision"] == "exclude"
    summary = again.summarize()
    assert (summary.num_decisions, summary.num_right, summary.num_changed, summary.num_excluded) == (
        2,
        0,
        1,
        1,
    )
    decided = scan_dataset(made[0], decisions=tmp_path / "reviewed.csv")
    assert len(decided) == len(scan_dataset(made[0])) - 1


def test_undo_takes_back_one_after_the_other(review):
    first, second = (number_of(review, path) for path in PLANTED)
    review.decide(first, "right", [])
    review.decide(second, "exclude", [])
    review.decide(first, "wrong", ["dogs"])
    assert review.undo() == first
    assert review.describe_pictures([first])[first]["decision"] == "right"
    assert [review.undo(), review.undo(), review.undo()] == [second, first, None]
    assert read_decisions(review.log.path) == []


def test_copies_are_told_apart_by_their_paths_alone(review):
    number = number_of(review, "train/cats/0.png")
    review.decide(number, "exclude", [])
    assert read_rows(review.log.path)[0].key == ""


def test_its_own_class_is_right_and_a_new_class_can_be_chosen_again(review):
    number = number_of(review, PLANTED[0])
    review.decide(number, "wrong", ["cats"])
    review.decide(number, "wrong", [" foxes "])
    assert [(row.decision, row.new_label) for row in review.log.rows] == [("right", ""), ("wrong", "foxes")]
    assert review.class_names == ["cats", "dogs", "foxes"]
    review.decide(number, "wrong", ["Dogs"])  # which looks like one that is there
    assert review.log.rows[-1].new_label == "dogs"


@pytest.mark.parametrize(
    ("number", "decision", "labels", "match"),
    [
        (99, "right", [], "There is no picture 99"),
        (-1, "right", [], "There is no picture -1"),
        (True, "right", [], "There is no picture True"),
        ("0", "right", [], "There is no picture '0'"),
        (0, "undo", [], "'undo' is not a decision"),
        (0, None, [], "None is not a decision"),
        (0, "wrong", [], "A picture has one class here"),
        (0, "wrong", ["cats", "dogs"], "A picture has one class here"),
        (0, "wrong", "dogs", "What the picture is instead is missing"),
        (0, "wrong", ["../up"], "'../up' cannot be the name of a class"),
        (0, "wrong", ["  "], "'' cannot be the name of a class"),
        (0, "wrong", ["a\nb"], "cannot be the name of a class"),
        (0, "wrong", ["x" * 101], "cannot be the name of a class"),
    ],
)
def test_what_is_no_decision_is_refused(review, number, decision, labels, match):
    with pytest.raises(CatdogError, match=match):
        review.decide(number, decision, labels)
    assert review.log.rows == []
    assert not review.log.path.exists()


def test_what_cannot_be_written_is_not_taken(review, monkeypatch):
    number = number_of(review, PLANTED[0])
    monkeypatch.setattr(
        "os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(DataError, match=r"No space left on device.*: the decision is not taken"):
        review.decide(number, "exclude", [])
    assert review.describe_pictures([number])[number]["decision"] is None


def test_old_decisions_that_no_longer_fit_are_said(made, tmp_path):
    (tmp_path / "d.csv").write_text("path,label,decision,new_label\ntrain/cats/gone.png,cats,exclude,\n")
    said: list[str] = []
    reopen(*made, tmp_path / "d.csv", log=said.append)
    assert any("1 of 1 decisions" in text and "'train/cats/gone.png'" in text for text in said)


def test_decisions_never_go_into_the_folder_of_pictures(made):
    with pytest.raises(DataError, match=r"is in the folder of pictures .* which stays as it is"):
        reopen(*made, made[0] / "reviewed.csv")


def test_decisions_go_into_the_run_where_nothing_is_said(made):
    assert reopen(*made, None).log.path == made[1] / "reviewed.csv"


def test_pictures_are_shown_though_the_cache_cannot_be_written(made, tmp_path, monkeypatch):
    whole = reopen(*made, tmp_path / "a.csv")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CATDOG_CACHE", str(tmp_path / "file"))
    without = reopen(*made, tmp_path / "b.csv")
    assert [each.cases for each in without.groups] == [each.cases for each in whole.groups]


def test_several_labels_are_switched_one_by_one(tmp_path):
    rows = ["path,labels"]
    (tmp_path / "p").mkdir()
    for number in range(24):
        draw_image(number % 2, number).save(tmp_path / "p" / f"{number}.png")
        labels = ["cat", "dog"][number % 2] + (";indoor" if number % 4 < 2 else "")
        rows.append(f"p/{number}.png,{labels if number else 'dog'}")  # the first one is wrong
    (tmp_path / "photos.csv").write_text("\n".join(rows) + "\n")
    run = train_tiny(tmp_path / "photos.csv", tmp_path / "run", "--epochs", "8", "--learning-rate", "0.01")
    review = reopen(tmp_path / "photos.csv", run, tmp_path / "reviewed.csv")
    assert review.several
    assert "p/0.png" in paths(review, group(review, "doubtful").cases[:4])
    number = number_of(review, "p/0.png")
    review.decide(number, "wrong", ["cat", "indoor"])
    assert review.log.rows[0].new_label == "cat;indoor"
    review.decide(number, "wrong", [])
    assert review.describe_pictures([number])[number]["new"] == []
    assert review.confusion.columns == ["missed", "wrongly said"]
    with pytest.raises(CatdogError, match="cannot be the name of a class"):
        review.decide(number, "wrong", ["a;b"])
