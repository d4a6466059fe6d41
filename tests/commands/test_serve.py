"""`catdog serve` as somebody types it: answers, reloads on SIGHUP, the end on SIGTERM, logs, errors."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from catdog_cli.cli import run
from tests.inference.checkpoints import write_checkpoint
from tests.serving.conftest import draw


@contextlib.contextmanager
def serving(*arguments):
    """Start the command; yield its process, its port and what it says on stderr, which grows."""
    process = subprocess.Popen(
        [sys.executable, "-m", "catdog_cli", "serve", *map(str, arguments), "--port", "0", "--cpu"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"},
    )
    said = []
    thread = threading.Thread(target=lambda: said.extend(process.stderr))
    thread.start()
    try:
        address = wait(lambda: next((line for line in said if line.startswith("Serving: ")), None), process)
        yield process, int(re.search(r":(\d+)/", address)[1]), said
    finally:
        process.kill()
        process.wait()
        thread.join()
        process.stdout.close()


def wait(true, process=None):
    """Return what `true()` comes to once it is."""
    deadline = time.monotonic() + 120
    while not (found := true()):
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None
        time.sleep(0.02)
    return found


def ask(port, number=0):
    """Return what the service says of a drawn picture."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/predict", draw(number), {"Content-Type": "image/png"})
    answer = connection.getresponse()
    assert answer.status == 200
    (row,) = json.loads(answer.read())
    connection.close()
    return row


def test_it_answers_reloads_and_ends(tmp_path):
    path = write_checkpoint(tmp_path / "best.pt", ("cats", "dogs\x1b[2J"))
    write_checkpoint(tmp_path / "other.pt", ("emus", "ants"), 5)
    with serving(path, "--model", f"other={tmp_path / 'other.pt'}") as (process, port, said):
        before = ask(port)
        shutil.copy(tmp_path / "other.pt", path)
        process.send_signal(signal.SIGHUP)
        wait(lambda: any(line == "Reloaded: default.\n" for line in said), process)
        after = ask(port)
        path.write_bytes(b"damaged")
        process.send_signal(signal.SIGHUP)
        wait(lambda: any(line.startswith("Not reloaded, the old ones stay: ") for line in said), process)
        assert ask(port) == after
        kept = Path(f"/proc/{process.pid}/environ")
        if kept.exists():  # no allocator that keeps what is freed
            assert b"GLIBC_TUNABLES" not in kept.read_bytes()
        process.send_signal(signal.SIGTERM)
        printed = process.stdout.read()
        assert process.wait(60) == 0
    assert {each["class"] for each in before["predictions"]} == {"cats", "dogs\x1b[2J"}
    assert {each["class"] for each in after["predictions"]} == {"emus", "ants"}
    assert said[-1] == "Stopped.\n"
    lines = printed.splitlines()
    assert len(lines) == 3
    assert all(
        re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d 127.0.0.1 200 POST /predict \d", each) for each in lines
    )
    assert lines[1].endswith(f" bytes {after['predictions'][0]['class']}")
    assert "\x1b" not in printed


def test_what_was_asked_is_answered_before_it_ends(tmp_path):
    path = write_checkpoint(tmp_path / "best.pt")
    with serving(path, "--log-format", "json") as (process, port, _):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        content = draw(0)
        connection.putrequest("POST", "/predict")
        for name, value in (("Content-Type", "image/png"), ("Content-Length", str(len(content)))):
            connection.putheader(name, value)
        connection.endheaders(content[:100])
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        connection.send(content[100:])
        assert connection.getresponse().status == 200
        connection.close()
        (row,) = map(json.loads, process.stdout.read().splitlines())
        assert process.wait(60) == 0
    assert row.pop("ms") > 300
    assert abs(row.pop("time") - time.time()) < 600
    assert row.pop("top")[0] in ("cats", "dogs", "emus")
    told = {"status": 200, "method": "POST", "path": "/predict", "bytes": len(content), "model": "default"}
    assert row == {**told, "client": "127.0.0.1"}


@pytest.mark.parametrize(
    ("arguments", "code", "match"),
    [
        ([], 2, "There is nothing to serve: give a checkpoint or --model NAME=CKPT."),
        (["no.pt"], 1, "No checkpoint at 'no.pt'"),
        (["damaged.pt"], 1, "'damaged.pt'"),
        (["best.pt", "--host", "0.0.0.0"], 2, "say under which names they may ask with --allow-host NAME"),
        (["best.pt", "--port", "70000"], 2, "70000 is not in the range"),
        (["best.pt", "--token", "short"], 2, "fewer than 8 characters"),
        (["best.pt", "--model", "a"], 2, "must be NAME=CKPT"),
        (["best.pt", "--model", "a=best.pt", "--model", "a=best.pt"], 2, "'a' was given twice"),
        (["best.pt", "--sets", "lac"], 2, "--sets belongs to --sure"),
        (["best.pt", "--tls-cert", "best.pt"], 2, "--tls-cert and --tls-key belong together"),
        (
            ["best.pt", "--tls-cert", "best.pt", "--tls-key", "best.pt"],
            1,
            "Cannot use the certificate 'best.pt'",
        ),
        (["best.pt", "--tls-cert", "no", "--tls-key", "no"], 1, "No such file or directory"),
        (["best.pt", "--page", "."], 1, "'.' has no index.html"),
        (["best.pt", "--max-body", "0"], 2, "0 is not in the range"),
    ],
)
def test_what_cannot_be_served_is_said_at_once(arguments, code, match, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "best.pt")
    (tmp_path / "damaged.pt").write_bytes(b"damaged")
    port = [] if "--port" in arguments else ["--port", "0"]
    assert run(["serve", *arguments, *port]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert match in " ".join(printed.err.split())


def test_a_port_that_is_taken_costs_no_waiting(tmp_path, capsys):
    from catdog_cli.serving.http_server import listen

    with contextlib.closing(listen("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert run(["serve", str(tmp_path / "not looked for.pt"), "--port", port]) == 1
    assert f"Cannot listen on port {port} of this machine" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["uvicorn", "starlette.requests", "prometheus_client"])
def test_without_its_packages_the_extra_is_named(package, tmp_path, monkeypatch, capsys):
    path = write_checkpoint(tmp_path / "best.pt")
    monkeypatch.setitem(sys.modules, package, None)
    assert run(["serve", str(path), "--port", "0"]) == 1
    assert "pip install 'catdog[serve]'" in capsys.readouterr().err


def test_https_answers_with_a_certificate(tmp_path):
    import ssl

    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate")
    files = ["-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *files, *names]
    subprocess.run(made, check=True, capture_output=True)
    path = write_checkpoint(tmp_path / "best.pt")
    given = ["--tls-cert", tmp_path / "cert.pem", "--tls-key", tmp_path / "key.pem"]
    with serving(path, *given, "--log-format", "none") as (process, port, said):
        trusted = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        connection = http.client.HTTPSConnection("localhost", port, timeout=60, context=trusted)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        connection.close()
        assert said[0].startswith(f"Serving: https://127.0.0.1:{port}/ ")
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == ""
        assert process.wait(60) == 0
