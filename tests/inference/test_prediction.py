"""A prediction as text, as a row and in a notebook."""

import dataclasses
import re

import pytest
from PIL import Image

from catdog_cli.inference.answer import ClassProbability
from catdog_cli.inference.prediction import MOST_SHOWN, Prediction, Predictions

CLASSES = (ClassProbability("cats", "A cat", 0.99999), ClassProbability("dogs", "D\x1b[2J", 0.00001))
GOOD = Prediction("photo.png", None, CLASSES)
BAD = Prediction("b\nad.png", "Cannot read 'b\\nad.png'\x1b: it is empty.")


@pytest.fixture
def photo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (400, 200), (200, 30, 60)).save("photo.png")


def test_text_lines_up_and_steers_no_terminal():
    assert str(GOOD).splitlines() == ["photo.png", "  A cat     > 99.99 %", r"  D\x1b[2J   < 0.01 %"]
    assert str(BAD) == r"Cannot read 'b\nad.png'\x1b: it is empty."


@pytest.mark.parametrize("prediction", [GOOD, BAD])
def test_a_row_is_plain_and_comes_back(prediction):
    row = prediction.to_dict()
    assert list(row) == ["path", "status", "error", "predictions"]
    assert row["status"] == prediction.status == ("ok" if prediction is GOOD else "error")
    assert Prediction.from_dict(row) == prediction
    with pytest.raises(dataclasses.FrozenInstanceError):
        prediction.path = "other"


def test_a_notebook_shows_the_image_and_its_classes(photo):
    page = GOOD._repr_html_()
    assert re.search(r'<img alt="" width="128" height="64" src="data:image/jpeg;base64,[^"]+">', page)
    assert "<td>A cat</td><td>&gt; 99.99 %</td>" in page
    assert "<img" not in dataclasses.replace(GOOD, path="gone.png")._repr_html_()
    assert "<img" not in BAD._repr_html_()


def test_an_address_is_left_to_the_browser():
    page = dataclasses.replace(GOOD, path='http://localhost:1/a"b.png')._repr_html_()
    assert '<img alt="" src="http://localhost:1/a&quot;b.png"' in page


def test_a_list_shows_the_first_of_many(photo):
    found = Predictions([GOOD] * (MOST_SHOWN + 1200))
    assert str(found).endswith("\nand 1,200 more")
    assert found._repr_html_().count("<img") == MOST_SHOWN
    assert found._repr_html_().endswith("<p>and 1,200 more</p>")
    assert str(Predictions([GOOD])) == str(GOOD)
    assert Predictions()._repr_html_() == str(Predictions()) == ""
