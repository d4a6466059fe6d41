"""Tables of several labels an image, in the forms that people have; what is ambiguous or wrong is said."""

import numpy as np
import pytest

from catdog_cli.data.label_lists import LabelForm
from catdog_cli.data.manifests import read_split, write_split
from catdog_cli.data.prepare import prepare_dataset
from catdog_cli.data.scan import scan_dataset
from catdog_cli.data.splits import fingerprint, split_dataset
from catdog_cli.errors import DataError, SettingsError
from catdog_cli.settings import UNKNOWN_LABEL

from ..conftest import write_images
from ..label_files import (
    COLOURS,
    choose_labels,
    write_coco,
    write_csv,
    write_joined,
    write_labelled,
    write_wide,
)


def read_labels(dataset, split="all"):
    """Return {path: (labels it has, labels that are unknown)}."""
    part = dataset.splits[split]
    return {
        path: tuple(
            {name for name, cell in zip(dataset.class_names, row, strict=True) if cell == value}
            for value in (1, UNKNOWN_LABEL)
        )
        for path, row in zip(part.paths, part.labels, strict=True)
    }


def expected(count=24):
    return {f"images/{number}.png": (choose_labels(number), set()) for number in range(count)}


def test_a_column_of_joined_labels_is_seen_and_said(tmp_path):
    dataset = scan_dataset(write_joined(tmp_path))
    assert dataset.has_several_labels
    assert dataset.class_names == list(COLOURS)
    assert read_labels(dataset) == expected()
    assert dataset.splits["all"].labels.dtype == np.int8
    assert any("column 'labels', divided by ';'" in note and "3 none" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("delimiter", "form"),
    [
        ("|", LabelForm()),
        (" ", LabelForm(delimiter=" ")),
        (",", LabelForm(delimiter=",")),
        (" / ", LabelForm(delimiter="/")),
        (" ", LabelForm(several=True, usual=" ")),
    ],
)
def test_other_delimiters(tmp_path, delimiter, form):
    assert read_labels(scan_dataset(write_joined(tmp_path, delimiter=delimiter), labels=form)) == expected()


def test_columns_of_1_and_0_are_seen_and_an_empty_cell_is_unknown(tmp_path):
    dataset = scan_dataset(write_wide(tmp_path, unknown=7))
    found = read_labels(dataset)
    assert sum(len(unknown) for _, unknown in found.values()) == 72 // 7
    for path, (there, unknown) in found.items():
        labels = choose_labels(int(path.split("/")[1].split(".")[0]))
        assert there == labels - unknown
    assert any("3 columns of 1 and 0" in note and "10 cells are unknown" in note for note in dataset.notes)


def test_columns_are_chosen_by_name_or_all(tmp_path):
    path = write_wide(tmp_path)
    chosen = scan_dataset(path, labels=LabelForm(columns="red, blue"))
    assert chosen.class_names == ["blue", "red"]
    assert any("columns without labels: 'green'" in note for note in chosen.notes)
    assert scan_dataset(path, labels=LabelForm(columns="all")).class_names == list(COLOURS)


def test_a_wide_table_as_competitions_hand_it_out(tmp_path):
    """Roboflow's blanks behind commas, Kaggle's id without a suffix, a column that is no label, a split."""
    rows = [
        (
            path.split("/")[1].removesuffix(".png"),
            20 + number,
            *(f" {int(name in labels)}" for name in COLOURS),
        )
        for number, (path, labels) in enumerate(write_labelled(tmp_path, 16))
    ]
    table = [(*row, "train" if place % 3 else "valid") for place, row in enumerate(rows)]
    path = write_csv(
        tmp_path / "train.csv", [("id", "age", *(f" {name}" for name in COLOURS), "split"), *table]
    )
    dataset = scan_dataset(path)
    assert dataset.class_names == list(COLOURS)
    assert {name: len(split) for name, split in dataset.splits.items()} == {"val": 6, "train": 10}
    assert any("columns without labels: 'age'" in note for note in dataset.notes)
    assert scan_dataset(tmp_path).class_names == list(COLOURS)  # the folder, whose table it is


def test_a_column_is_valid_divides_as_fastai_does(tmp_path):
    rows = [
        (path, " ".join(sorted(labels)), number % 4 == 0)
        for number, (path, labels) in enumerate(write_labelled(tmp_path, 16))
    ]
    path = write_csv(tmp_path / "labels.csv", [("fname", "labels", "is_valid"), *rows])
    dataset = scan_dataset(path, labels=LabelForm(delimiter=" "))
    assert {name: len(split) for name, split in dataset.splits.items()} == {"val": 4, "train": 12}


def test_a_folder_with_a_table_of_each_split(tmp_path):
    for side, start in (("train", 0), ("valid", 50)):
        rows = write_labelled(tmp_path / side, 9, start)
        cells = [(path, *(int(name in labels) for name in COLOURS)) for path, labels in rows]
        for path, _ in rows:
            (tmp_path / side / path).rename(tmp_path / side / path.split("/")[1])
        (tmp_path / side / "images").rmdir()
        named = [(path.split("/")[1], *rest) for path, *rest in cells]
        write_csv(tmp_path / side / "_classes.csv", [("filename", *COLOURS), *named])
    dataset = scan_dataset(tmp_path)
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 9, "val": 9}
    assert dataset.splits["val"].paths[0] == "valid/50.png"
    assert dataset.class_names == list(COLOURS)


def test_several_rows_of_an_image_list_its_labels(tmp_path):
    write_labelled(tmp_path, 3)
    rows = [("images/1.png", "cat"), ("images/2.png", "dog"), ("images/1.png", "dog"), ("images/0.png", "")]
    path = write_csv(tmp_path / "long.csv", [("path", "label"), *rows])
    dataset = scan_dataset(path, labels=LabelForm(delimiter=";"))
    assert {image: there for image, (there, _) in read_labels(dataset).items()} == {
        "images/1.png": {"cat", "dog"},
        "images/2.png": {"dog"},
        "images/0.png": set(),
    }
    assert any("1 rows name a picture again" in note for note in dataset.notes)
    with pytest.raises(DataError, match=r"twice.*--label-delimiter"):
        scan_dataset(write_csv(tmp_path / "long.csv", [("path", "label"), *rows[:3]]))


@pytest.mark.parametrize("called", ["label", "type"])
def test_columns_of_1_and_0_beside_a_class_give_a_hint(tmp_path, called):
    write_images(tmp_path, {"a": 3})
    rows = [
        ("path", called, "cat, big", "dog", "hint", "score", "is_valid", "empty"),
        ("a/0.png", "x", "1", "0", "", "1", "0", ""),
        ("a/1.png", "y", "0", " true ", "0", "0.5", "1", ""),
        ("a/2.png", "x", "", "0", "", "0", "1", ""),
    ]
    dataset = scan_dataset(write_csv(tmp_path / "table.csv", rows))
    assert dataset.class_names == ["x", "y"]
    (hint,) = [note for note in dataset.notes if "--label-columns" in note]
    assert f"Column {called!r} is read as one class a picture, and 3 columns of 1 and 0 are not, " in hint
    assert hint.endswith("""add --label-columns '"cat, big",dog,hint'.""")
    labelled = scan_dataset(tmp_path / "table.csv", labels=LabelForm(columns='"cat, big",dog,hint'))
    assert labelled.class_names == ["cat, big", "dog", "hint"]


def test_one_column_of_1_and_0_beside_a_class_gives_no_hint(tmp_path):
    write_images(tmp_path, {"a": 2})
    rows = [("path", "label", "sharp"), ("a/0.png", "x", "1"), ("a/1.png", "y", "0")]
    assert not any(
        "--label-columns" in note for note in scan_dataset(write_csv(tmp_path / "t.csv", rows)).notes
    )


def test_one_label_each_stays_one_class_and_blanks_give_a_hint(tmp_path):
    listed = [path for path, _ in write_labelled(tmp_path, 6)]
    names = ["cat", "dog", "cat", "dog", "cat", "dog"]
    plain = write_csv(tmp_path / "plain.csv", [("path", "labels"), *zip(listed, names, strict=True)])
    dataset = scan_dataset(plain)
    assert not dataset.has_several_labels
    assert dataset.class_names == ["cat", "dog"]
    assert not any("--label-delimiter" in note for note in dataset.notes)
    tags = ["haze", "clear", "haze road", "clear road", "haze water", "clear water road"]
    blanks = write_csv(tmp_path / "blanks.csv", [("path", "tags"), *zip(listed, tags, strict=True)])
    dataset = scan_dataset(blanks)
    assert not dataset.has_several_labels
    assert any("add --label-delimiter ' '" in note for note in dataset.notes)


def test_coco_annotations(tmp_path):
    dataset = scan_dataset(write_coco(tmp_path))
    assert read_labels(dataset) == expected()
    assert any("COCO annotations" in note and "3 none" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-5], "is not JSON"),
        (lambda text: "[1]", "is not a file of COCO annotations: expected the lists"),
        (lambda text: text.replace("file_name", "name"), "id and file_name in each of 'images'"),
        (lambda text: text.replace('"category_id": 0', '"category_id": 9'), "with the category 9"),
        (lambda text: text.replace('"name": "blue"', '"name": "a;b"'), "has the label 'a;b'"),
        (lambda text: text.replace('"name": "blue"', '"name": "Red"'), "differ by upper and lower case"),
        (lambda text: text.replace("images/4.png", "images/3.png"), "lists 'images/3.png' twice"),
        (lambda text: text.replace("images/3.png", "images/333.png"), r"1 pictures of .* do not exist"),
    ],
)
def test_a_coco_file_that_is_none(tmp_path, change, message):
    path = write_coco(tmp_path)
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=message):
        scan_dataset(path)


WRONG = [
    (
        "blue,green",
        {"columns": "blue,gren"},
        SettingsError,
        "--label-columns names 'gren', but the first line",
    ),
    ("blue,green", {"delimiter": ";"}, SettingsError, "has no column of labels"),
    ("blue,green", {"columns": "all", "cell": "maybe"}, DataError, "has 'maybe' in the column 'blue'"),
    ("a;b,green", {}, DataError, "has the label 'a;b', but ';' divides labels"),
    ("Blue,blue", {}, DataError, "differ by upper and lower case"),
]


@pytest.mark.parametrize(("columns", "given", "kind", "message"), WRONG)
def test_what_is_wrong_is_said_in_a_sentence(tmp_path, columns, given, kind, message):
    listed = [path for path, _ in write_labelled(tmp_path, 4)]
    cell = given.pop("cell", "1")
    rows = [(path, cell if place == 2 else str(place % 2), "1") for place, path in enumerate(listed)]
    path = write_csv(tmp_path / "wide.csv", [("path", *columns.split(",")), *rows])
    with pytest.raises(kind, match=message):
        scan_dataset(path, labels=LabelForm(**given))


def test_options_are_refused_where_data_is_no_table(tmp_path):
    folders = write_images(tmp_path / "pets", {"cats": 2, "dogs": 2})
    with pytest.raises(SettingsError, match=r"--label-delimiter is of a table.s columns, but .* class"):
        scan_dataset(folders, labels=LabelForm(delimiter=";"))
    with pytest.raises(SettingsError, match=r"--label-columns is of a table.s columns, but .* COCO"):
        scan_dataset(write_coco(tmp_path), labels=LabelForm(columns="all"))


def test_a_label_without_images_in_train_is_left_out_and_named(tmp_path):
    rows = [
        (path, "blue" if number < 6 else "blue;odd", "train" if number < 6 else "val")
        for number, (path, _) in enumerate(write_labelled(tmp_path, 8))
    ]
    path = write_csv(tmp_path / "labels.csv", [("path", "labels", "split"), *rows])
    dataset = scan_dataset(path)
    assert dataset.class_names == ["blue"]
    assert any("No picture of train has 'odd': left out." in warning for warning in dataset.warnings)


def test_matched_to_a_checkpoint_unnamed_labels_are_absent_in_lists_and_unknown_in_columns(tmp_path):
    names = ["black", "blue", "green", "red"]
    for path, value in ((write_joined(tmp_path), 0), (write_wide(tmp_path), UNKNOWN_LABEL)):
        form = LabelForm(several=True, class_names=tuple(names))
        labels = scan_dataset(path, names, labels=form).splits["all"].labels
        assert (labels[:, 0] == value).all()
    matched = scan_dataset(path, ["blue", "red"], labels=LabelForm(several=True, class_names=("blue", "red")))
    assert matched.class_names == ["blue", "red"]
    with pytest.raises(DataError, match="does not know"):
        scan_dataset(write_joined(tmp_path), ["cat", "dog"], labels=LabelForm(several=True))


def test_a_checkpoint_and_data_of_other_kinds_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"tells one class a picture, but .* has several labels a picture"):
        scan_dataset(write_joined(tmp_path), list(COLOURS))
    folders = write_images(tmp_path / "pets", {"cats": 2, "dogs": 2})
    with pytest.raises(DataError, match=r"tells several labels a picture, but .* has one class a picture"):
        scan_dataset(folders, ["cats", "dogs"], labels=LabelForm(several=True))


@pytest.mark.parametrize("unknown", [0, 5])
def test_a_split_written_down_is_the_same_data(tmp_path, unknown):
    dataset = split_dataset(scan_dataset(write_wide(tmp_path, unknown=unknown)), 0.25)
    write_split(dataset, tmp_path / "split.csv")
    again = read_split(tmp_path / "split.csv", tmp_path)
    assert fingerprint(again) == fingerprint(dataset)
    given = scan_dataset(tmp_path / "split.csv")  # as DATA
    assert fingerprint(given) == fingerprint(dataset)
    assert given.has_several_labels


def test_prepared_arrays_keep_the_labels(tmp_path):
    dataset = split_dataset(scan_dataset(write_wide(tmp_path, unknown=5)), 0.25)
    prepare_dataset(dataset, tmp_path / "prepared", 16)
    again = scan_dataset(tmp_path / "prepared")
    assert again.has_several_labels
    for name, split in dataset.splits.items():
        assert (again.splits[name].labels == split.labels).all()
    np.save(tmp_path / "prepared" / "labels.npy", np.full((24, 3), 7, np.int8))
    with pytest.raises(DataError, match="does not hold 1, 0 or -1"):
        scan_dataset(tmp_path / "prepared")
