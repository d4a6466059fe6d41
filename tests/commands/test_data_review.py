"""`catdog data review` as somebody types it: it serves, Ctrl-C ends it, it says what to type next."""

import json
import os
import signal
import subprocess
import sys
import urllib.request

import pytest

from catdog_cli.cli import run
from catdog_cli.data.decisions import read_decisions
from tests.review.reviewed import write_run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("review"))


def start(*arguments):
    """Start the command; return its process and the address of its page."""
    process = subprocess.Popen(
        [sys.executable, "-m", "catdog_cli", "data", "review", *map(str, arguments), "--cpu"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DISPLAY": ":9"},  # a screen, but no terminal: no browser is opened
    )
    for line in process.stderr:
        if line.startswith("Review: "):
            return process, line.removeprefix("Review: ").strip()
    raise AssertionError(process.stdout.read())


def test_it_serves_until_ctrl_c_and_says_how_to_train(made, tmp_path):
    output = tmp_path / "reviewed.csv"
    process, url = start(*made, "--output", output)
    host = url.split("/")[2]
    body = json.dumps({"picture": 0, "decision": "wrong", "labels": ["dogs"]}).encode()
    headers = {"Origin": f"http://{host}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{url}decide", body, headers), timeout=60) as answer:
        assert json.load(answer)["pictures"]["0"]["decision"] == "wrong"
    assert len(read_decisions(output)) == 1  # before it ends
    process.send_signal(signal.SIGINT)
    printed, talk = process.communicate(timeout=60)
    assert process.returncode == 0
    assert printed == f"{output}: 1 picture looked at: 0 right, 1 label changed, 0 left out.\n"
    assert f"Train with it: catdog train {made[0]} --decisions {output}\n" in talk
    assert "Traceback" not in talk


@pytest.mark.parametrize(
    ("arguments", "code", "match"),
    [
        (["PETS", "no.pt"], 1, "No checkpoint at 'no.pt'"),
        (["no", "RUN"], 1, "'no' does not exist"),
        (["RUN", "PETS"], 2, "catdog data review"),
        (["PETS", "RUN", "--port", "70000"], 2, "70000 is not in the range"),
        (["PETS", "RUN", "--output", "PETS/reviewed.csv"], 1, "which stays as it is: choose a place outside"),
        (["PETS", "RUN", "--output", "FOLDER"], 1, "Is a directory"),
        (["PETS", "RUN", "--output", "PETS.csv"], 1, "not a file of decisions"),
    ],
)
def test_what_cannot_be_reviewed_is_said_at_once(arguments, code, match, made, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "PETS.csv").write_text("path,class\n")
    (tmp_path / "FOLDER").mkdir()
    places = {"PETS": str(made[0]), "RUN": str(made[1]), "PETS/reviewed.csv": str(made[0] / "reviewed.csv")}
    assert run(["data", "review", *(places.get(word, word) for word in arguments), "--no-browser"]) == code
    assert match in " ".join(capsys.readouterr().err.split())


def test_without_its_packages_the_extra_is_named(made, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert run(["data", "review", *map(str, made), "--output", str(tmp_path / "d.csv")]) == 1
    assert "pip install 'catdog[serve]'" in capsys.readouterr().err
