"""The three reports of one evaluation, with names that would break a careless page."""

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from catdog_cli.errors import CatdogError
from catdog_cli.evaluation.calibration import measure_calibration
from catdog_cli.evaluation.metrics import full_metrics
from catdog_cli.evaluation.report import find_mistakes, list_notes, summarize, write_report
from catdog_cli.models.tasks import SINGLE_LABEL

NAMES = ["<script>alert(1)</script>", "dogs & 'wolves'", "猫 $x$"]
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


def make_case(num_samples=150):
    rng = np.random.default_rng(0)
    labels = np.arange(num_samples) % 3
    logits = rng.normal(size=(num_samples, 3)) + 2 * np.eye(3)[labels]
    paths = [f"pictures/<b>{i}.jpg" for i in range(num_samples)]
    paths[0] = "pictures/\udcff\n0.jpg"
    logits[0] = [-9, 9, 0]  # wrong and sure
    return logits, labels, paths


def write_case(folder, **options):
    logits, labels, paths = make_case()
    probabilities = SINGLE_LABEL.probabilities(logits)
    metrics = full_metrics(probabilities, labels, NAMES, bootstrap=100)
    mistakes = find_mistakes(probabilities, labels, NAMES, paths)
    return write_report(folder, metrics, mistakes, title="pets <i>& co", **options), metrics, mistakes


class TagCounter(HTMLParser):
    """Counts the tags of a page, and collects its text and what its attributes point to."""

    def __init__(self):
        super().__init__()
        self.tags, self.links, self.text = {}, [], ""

    def handle_starttag(self, tag, attrs):
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.links += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.text += data


def read_page(path):
    page = TagCounter()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def test_json_holds_every_number_and_every_mistake(tmp_path):
    logits, labels, _ = make_case()
    calibration = measure_calibration(logits, labels)
    files, metrics, mistakes = write_case(tmp_path / "new" / "report", calibration=calibration)
    assert [file.name for file in files] == ["report.json", "report.txt", "report.html"]
    assert set(files) == set((tmp_path / "new" / "report").iterdir())
    found = json.loads(files[0].read_text(encoding="utf-8"))
    assert {key: found[key] for key in metrics} == metrics
    assert found["mistakes"] == mistakes
    assert found["calibration"] == calibration
    assert found["title"] == "pets <i>& co"


def test_page_is_escaped_and_needs_no_network(tmp_path):
    (tmp_path / "roc.png").write_bytes(PIXEL)
    files, _, mistakes = write_case(tmp_path, images={"How <well>": tmp_path / "roc.png"})
    page, raw = read_page(files[2]), files[2].read_text(encoding="utf-8")
    assert not {"script", "i", "b", "well", "link", "iframe"} & set(page.tags)
    assert not re.search(r"https?://|url\(|@import", raw)
    assert page.links == ["data:image/png;base64," + base64.b64encode(PIXEL).decode()]
    for text in (*NAMES, "How <well>", "pets <i>& co", mistakes[1]["path"]):
        assert text in page.text
    assert page.tags["tr"] == (1 + 6) + (1 + 5) + (1 + len(mistakes))  # numbers, classes, mistakes


def test_text_report_lines_up(tmp_path):
    logits, labels, _ = make_case()
    files, metrics, mistakes = write_case(tmp_path, calibration=measure_calibration(logits, labels))
    text = files[1].read_text(encoding="utf-8")
    low, high = metrics["intervals"]["accuracy"]
    assert re.search(rf"^accuracy +{metrics['accuracy']:.4f}  {low:.4f} to {high:.4f}$", text, re.MULTILINE)
    assert re.search(r"^calibration error \(ECE\), calibrated +0\.\d{4}$", text, re.MULTILINE)
    assert re.search(r"^dogs & 'wolves'( +[01]\.\d{4}){3} +50$", text, re.MULTILINE)
    assert re.search(r"^macro mean( +[01]\.\d{4}){3} +150$", text, re.MULTILINE)
    assert f"the surest first ({min(20, len(mistakes))} of {len(mistakes)})" in text
    assert r"pictures/\udcff 0.jpg" in text


def test_mistakes_come_surest_first():
    logits, labels, paths = make_case()
    found = find_mistakes(SINGLE_LABEL.probabilities(logits), labels, NAMES, paths)
    assert found[0]["path"] == paths[0]
    assert (found[0]["true"], found[0]["predicted"]) == (NAMES[0], NAMES[1])
    assert found[0]["probability"] > 0.99
    assert found[0]["probability_true"] < 0.01
    sure = [item["probability"] for item in found]
    assert sure == sorted(sure, reverse=True)
    assert len(found) == (logits.argmax(1) != labels).sum()


@pytest.mark.parametrize(
    ("right", "total", "expected"),
    [
        (
            492,
            500,
            r"^492 of 500 pictures \(98\.4 %\) classified correctly\. .* between 96\.9 % and 99\.2 % \(95",
        ),
        (500, 500, r"^500 of 500 pictures \(100\.0 %\) .* between 99\.2 % and 100\.0 %[^']*$"),
        (492, 500, r"The weakest class is 'cats': 96\.8 % of its 250 pictures are found\.$"),
        (1, 1, r"^1 of 1 picture \(.* So few pictures say little"),
    ],
)
def test_summary_says_it_plainly(right, total, expected):
    labels = np.arange(total) % 2
    predicted = labels.copy()
    predicted[: 2 * (total - right) : 2] = 1  # only cats are missed
    probabilities = np.eye(2)[predicted] * 0.8 + 0.1
    assert re.search(expected, summarize(full_metrics(probabilities, labels, ["cats", "dogs"], bootstrap=0)))


def test_all_right_reports_no_mistakes_and_why_intervals_are_missing(tmp_path):
    labels = np.arange(40) % 2
    metrics = full_metrics(np.eye(2)[labels] * 0.8 + 0.1, labels, ["cats", "dogs"], bootstrap=50)
    files = write_report(tmp_path, metrics, [])
    assert "No mistakes" in files[1].read_text(encoding="utf-8")
    assert "None." in read_page(files[2]).text
    assert list_notes(metrics) == [
        "auc interval, accuracy bootstrap interval, loss interval, f1 macro interval: All resamples agree (as"
        " when every picture is right): the bootstrap cannot tell how sure this is."
    ]
    assert "the bootstrap cannot tell" in files[1].read_text(encoding="utf-8")


def test_what_cannot_be_read_or_written_is_named(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(
        CatdogError, match=r"Cannot write '.*file/report\.json' .(File ex|Not a dir).*another folder"
    ):
        write_case(tmp_path / "file")
    with pytest.raises(CatdogError, match=r"Cannot read the picture '.*gone\.png' for the report: No such"):
        write_case(tmp_path, images={"ROC": tmp_path / "gone.png"})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
