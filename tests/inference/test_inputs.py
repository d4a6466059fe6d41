"""What arguments mean: files, folders, patterns, lists, stdin, as a stream."""

import io
import re
import tracemalloc
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catdog_cli.data.natural_sort import sort_naturally
from catdog_cli.errors import DataError
from catdog_cli.inference.inputs import Unusable, expand_inputs

from ..conftest import draw_image


def expand(*arguments, stdin=b""):
    return list(expand_inputs(arguments, io.BytesIO(stdin)))


def natural_key(name):
    """Return what natural order means: texts and numbers by turns, then the exact name."""
    parts = re.split(r"([0-9]+)", name.casefold())
    parts[1::2] = [(len(digits.lstrip("0")), digits.lstrip("0")) for digits in parts[1::2]]
    return parts, name


@given(st.lists(st.text("aB 01２9-_.é", max_size=8)))
def test_names_are_sorted_naturally(names):
    assert sort_naturally(names) == sorted(names, key=natural_key)


def test_folders_go_down_in_natural_order_without_what_is_no_picture(place):
    (place / "pets" / ".hidden.png").touch()
    (place / "pets" / "notes.md").touch()
    (place / "pets" / "loose.JPG").touch()
    (place / "pets" / "dogs" / "up").symlink_to(place / "pets")
    cats = [f"pets/cats/{name}" for name in range(8)]
    found = expand("pets")
    assert found[:10] == ["pets/loose.JPG", *(f"{cat}.png" for cat in cats), "pets/cats/7a.jpg"]
    assert found[12] == "pets/cats/10.png"
    assert len(found) == 21


def test_every_picture_has_a_row_and_every_other_file_is_counted(place):
    for name in ("a.heic", "b.psd", "3.svg", "c.txt", "d.TXT", "README", "e.csv"):
        (place / "pets" / "cats" / name).write_bytes(b"0")
    draw_image(0, 0).save(place / "pets" / "cats" / "scan", "png")
    found = [path.removeprefix("pets/cats/") for path in expand("pets/cats")]
    assert found[3:5] == ["3.png", "3.svg"]
    assert {"a.heic", "b.psd", "scan"} < set(found)
    ignored = Counter()
    assert len(list(expand_inputs(["pets/cats", "gone", "pets/dogs"], io.BytesIO(), ignored))) > len(found)
    assert ignored == {".txt": 2, ".csv": 1, "without suffix": 1}


def test_a_list_that_null_characters_divide_is_no_wide_text(place):
    (place / "list.txt").write_bytes(b"a\0b\0c\0")
    assert expand("list.txt") == ["a", "b", "c"]


def test_what_training_ignores_is_not_predicted_and_a_bad_file_is_not_hidden(place):
    (place / "pets" / "@eaDir").mkdir()
    draw_image(0, 0).save(place / "pets" / "@eaDir" / "thumbnail.png")
    draw_image(0, 0).save(place / "pets" / "dogs" / "curves.png")
    (place / "pets" / "dogs" / "history.jsonl").touch()
    (place / "pets" / "cats" / "gone.png").symlink_to("nowhere.png")
    (place / "pets" / "more").symlink_to(place / "pets" / "dogs")
    found = expand("pets")
    assert len(found) == 21
    assert "pets/cats/gone.png" in found


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("pets/*/1*.png", 3),
        ("pets/**/*.png", 19),
        ("**/7a.jpg", 1),
        ("pe?s", 20),
        ("pets/[cx]ats/[0-4].*", 5),
    ],
)
def test_patterns_mean_what_the_shell_would_make_of_them(place, pattern, count):
    found = expand(pattern)
    assert len(found) == len(set(found)) == count
    assert expand(str(place / pattern)) == [str(place / each) for each in found]


def test_a_file_with_a_pattern_in_its_name_is_that_file(place):
    draw_image(0, 0).save("pets/a[1].png")
    assert expand("pets/a[1].png") == ["pets/a[1].png"]


@pytest.mark.parametrize("argument", ["empty", "*.gif", "pets/none/*.png"])
def test_what_holds_no_picture_is_an_input_that_says_so(place, argument):
    (place / "empty").mkdir()
    (only,) = expand(argument)
    assert isinstance(only, Unusable)
    assert only.path == argument
    assert repr(argument) in only.reason


def test_stdin_and_lists(place):
    (place / "list.txt").write_bytes(b"a.png\r\n\nb c.png\nlast\xe9.png")
    (place / "list.csv").write_bytes(b'\xef\xbb\xbfid,path\n1,"a\nb,c.png"\n2,d.png\n3,\n')
    assert expand("list.txt") == ["a.png", "b c.png", "last\udce9.png"]
    (place / "marked.txt").write_text("a.png\nb.png", "utf-8-sig")
    (place / "wide.TXT").write_text("a.png\r\n\r\nb.png\r\n", "utf-16")  # as PowerShell writes
    assert expand("marked.txt") == expand("wide.TXT") == ["a.png", "b.png"]
    assert expand("list.csv") == ["a\nb,c.png", "d.png"]
    assert expand("-", "x.png", stdin=b"a.png\nb.png") == ["a.png", "b.png", "x.png"]
    assert expand("-", stdin=b"a\nb.png\0c.png\0") == ["a\nb.png", "c.png"]


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        (
            "list.csv",
            b"colour,label\nx.png,1\n",
            r"'list\.csv' has no column of paths \(its first line holds 'colour'",
        ),
        ("list.csv", b"", r"'list\.csv' has no column of paths \(its first line holds nothing\): name one"),
        ("list.csv", b'path\n"' + b"x" * 200_000, r"'list\.csv' is not a readable manifest \(field larger"),
        ("list.txt", b"\xff\xfea\0\x00\xd8", r"Cannot read the list 'list\.txt' \('utf-16-le' codec"),
        ("gone.txt", None, r"Cannot read the list 'gone\.txt' \(No such file"),
    ],
)
def test_bad_lists(place, name, content, match):
    if content is not None:
        (place / name).write_bytes(content)
    with pytest.raises(DataError, match=match):
        expand(name)


def test_a_list_of_any_length_takes_no_memory(place):
    with (place / "long.txt").open("w") as file:
        for number in range(200_000):
            file.write(f"some/folder/with/pictures/{number}.png\n")
    tracemalloc.start()
    assert sum(1 for _ in expand_inputs(["long.txt"], io.BytesIO())) == 200_000
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()
