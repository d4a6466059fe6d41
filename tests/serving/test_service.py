"""What the service answers, to whom, and how it looks after itself; over real connections."""

import dataclasses
import json
import re
import socket
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest

import catdog_cli
from catdog_cli.cli import run
from catdog_cli.inference.answer import ClassProbability
from catdog_cli.inference.prediction import Prediction
from catdog_cli.serving.limits import Limits
from tests.images.test_png import make_chunk
from tests.inference.checkpoints import write_checkpoint

from .served import PATIENCE_S, make_form, running

TOKEN = "long enough"
FIELD = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n'
BOMB = b"".join(
    [
        b"\x89PNG\r\n\x1a\n",
        make_chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)),
        make_chunk(b"IDAT", zlib.compress(bytes(60_001))),
        make_chunk(b"IEND", b""),
    ]
)


@pytest.fixture(scope="module")
def served(checkpoint):
    records = []
    with running(catdog_cli.app(checkpoint, on_request=records.append, device="cpu")) as served:
        served.service.records = records
        yield served


@pytest.fixture(scope="module")
def guarded(checkpoint, tmp_path_factory):
    """Return a service with a token, two models that can be changed, and small limits."""
    folder = tmp_path_factory.mktemp("guarded")
    for name, seed in (("one", 1), ("two", 2)):
        write_checkpoint(folder / name / "best.pt", ("cats", "dogs"), seed)
    limits = Limits(pictures=3, body_bytes=200_000, held_bytes=300_000, stall_s=0.5, body_s=1.5)
    models = {"two": folder / "two"}
    app = catdog_cli.app(folder / "one", models=models, token=TOKEN, limits=limits, device="cpu")
    with running(app) as served:
        yield served


def bearer(token=TOKEN):
    return {"Authorization": f"Bearer {token}"}


def test_a_picture_gets_what_predict_prints(served, checkpoint, pictures, tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(pictures[0])
    assert run(["predict", str(tmp_path / "a.png"), str(checkpoint), "--json", "--cpu"]) == 0
    (printed,) = json.loads(capsys.readouterr().out)
    status, (row,), headers = served.predict(pictures[0])
    assert status == 200
    assert row == {**printed, "path": "-"}
    assert headers["Content-Type"] == "application/json"
    octets = served.predict(pictures[0], Content_Type="application/octet-stream")
    assert octets[1] == [row]


def test_a_form_holds_several_pictures_in_order(served, pictures):
    body, kind = make_form(("a.png", pictures[0]), ("../b\u00e9.png", b"nothing"), ("c.png", pictures[1]))
    status, rows, _ = served.ask("POST", "/predict", body, Content_Type=kind)
    assert status == 200
    assert [(row["path"], row["status"]) for row in rows] == [
        ("a.png", "ok"),
        ("../b\u00e9.png", "error"),
        ("c.png", "ok"),
    ]
    assert "'../b\u00e9.png': it is not a picture" in rows[1]["error"]
    assert rows[0]["predictions"] == served.predict(pictures[0])[1][0]["predictions"]


def test_top_k_and_the_model_are_chosen_in_the_address(guarded, pictures):
    one, two = (guarded.predict(pictures[0], query, **bearer())[1][0] for query in ("", "?model=two&top_k=1"))
    assert (len(one["predictions"]), len(two["predictions"])) == (2, 1)
    assert one["predictions"][0]["probability"] != two["predictions"][0]["probability"]
    assert guarded.predict(pictures[0], "?model=default", **bearer())[1] == [one]


def test_answers_do_not_depend_on_company(served, pictures):
    alone = [served.predict(each)[1] for each in pictures]
    with ThreadPoolExecutor(16) as pool:
        for _ in range(3):
            together = list(pool.map(lambda each: served.predict(each)[1], pictures))
            assert together == alone  # to the bit: floats are written so that they are read as they were
    status, text, _ = served.ask(path="/metrics")
    batches = dict(re.findall(r'batch_pictures_bucket\{le="([\d.]+)"\} (\d+)', text.decode()))
    assert status == 200
    assert int(batches["1.0"]) < int(batches["16.0"])  # they did go together


def test_every_request_is_logged_once_and_counted(served, pictures):
    served.service.records.clear()
    before = count(served, "catdog_pictures_total")
    body, kind = make_form(("a.png", pictures[0]), ("b.png", b"nothing"))
    served.ask("POST", "/predict", body, Content_Type=kind)
    served.ask(path="/nothing")
    records = [record for record in served.service.records if record.path != "/metrics"]
    told = [(each.method, each.path, each.status, each.num_bytes, each.client) for each in records]
    assert told == [
        ("POST", "/predict", 200, len(body), "127.0.0.1"),
        ("GET", "/nothing", 404, 0, "127.0.0.1"),
    ]
    top = served.predict(pictures[0])[1][0]["predictions"][0]["class"]
    assert records[0].top == [top, "error"]
    assert records[0].model == "default"
    assert 0 < records[0].seconds < 60
    assert count(served, "catdog_pictures_total") == before + 3


def count(served, name):
    text = served.ask(path="/metrics")[1].decode()
    return sum(float(value) for value in re.findall(rf"^{name}\{{.*\}} ([\d.e+]+)$", text, re.MULTILINE))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"<script>", "it is not a picture"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "Cannot read the picture '-'"),
        (BOMB, "it declares 60,000 x 60,000 px"),
    ],
    ids=["empty", "text", "damaged", "bomb"],
)
def test_what_cannot_be_read_is_a_row_with_its_reason(served, content, reason):
    status, (row,), _ = served.predict(content)
    assert (status, row["status"], row["predictions"]) == (422, "error", [])
    assert reason in row["error"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {"Host": "evil.example"}, 421),  # a name that leads here
        ("GET", "/", {"Host": "localhost@evil.example"}, 421),
        ("GET", "/", {"Host": "127.0.0.1.evil.example:8000"}, 421),
        ("GET", "/", {"Host": "localhost:x"}, 421),
        ("GET", "/", {"Host": "LOCALHOST:9000"}, 200),  # another port leads here where somebody forwards it
        ("GET", "/", {"Host": "[::1]:9000"}, 200),
        ("POST", "/predict", {"Origin": "http://evil.example"}, 403),
        ("POST", "/predict", {"Origin": "null"}, 403),
        ("POST", "/predict", {"Origin": "http://127.0.0.1:PORT"}, 200),
        ("POST", "/predict", {"Origin": "http://127.0.0.1:1"}, 403),
        ("POST", "/predict", {"Sec_Fetch_Site": "cross-site"}, 403),
        ("POST", "/predict", {"Sec_Fetch_Site": "same-site"}, 403),
        ("POST", "/predict", {"Sec_Fetch_Site": "same-origin"}, 200),
        ("POST", "/predict", {"Content_Type": "text/plain"}, 415),  # which a form of any page may send
        ("POST", "/predict", {"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ("POST", "/predict", {"Content_Encoding": "gzip"}, 415),
        ("POST", "/predict?top_k=0", {}, 400),
        ("POST", "/predict?top_k=9999999999", {}, 400),
        ("POST", "/predict?top_k=%D9%A3", {}, 400),
        ("POST", "/predict?model=../best", {}, 404),
        ("OPTIONS", "/predict", {"Origin": "http://evil.example"}, 405),
        ("GET", "/predict", {}, 405),
        ("BREW", "/predict", {}, 405),
        ("POST", "/reload", {}, 403),  # there is no token
        ("GET", "/../setup.cfg", {}, 404),
        ("GET", "/%2e%2e/app.py", {}, 404),
        ("GET", "/service.css/../../app.py", {}, 404),
        ("GET", "/service.css%00", {}, 404),
        ("GET", "//health", {}, 404),
        ("GET", "/health", {"X_Long": "x" * 40_000}, 431),
    ],
)
def test_who_gets_what(served, pictures, method, path, headers, status):
    headers = {name: value.replace("PORT", str(served.port)) for name, value in headers.items()}
    body = pictures[0] if method == "POST" else None
    found = served.ask(method, path, body, **{"Content_Type": "image/png", **headers})
    assert found[0] == status
    if status >= 400:
        assert set(found[1]) == {"error"}
    assert not any(name.lower().startswith("access-control") for name in found[2])


def test_every_answer_forbids_what_the_page_does_not_need(served):
    for method, path in (("GET", "/"), ("GET", "/nothing"), ("POST", "/predict"), ("GET", "/metrics")):
        headers = served.ask(method, path)[2]
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'self'; ")
        assert "unsafe-inline" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Server"] is None


def test_names_from_a_form_reach_no_page_as_they_are(served):
    body, kind = make_form(("<img src=x onerror=alert(1)>.png", b"nothing"))
    status, rows, headers = served.ask("POST", "/predict", body, Content_Type=kind)
    assert status == 422
    assert headers["Content-Type"] == "application/json"  # and nosniff: no browser takes it for a page
    assert rows[0]["path"] == "<img src=x onerror=alert(1)>.png"


def test_a_token_is_asked_for_but_by_the_page_and_health(guarded, pictures):
    for path in ("/", "/health", "/docs", "/openapi.json"):
        assert guarded.ask(path=path)[0] == 200
    for method, path in (("POST", "/predict"), ("GET", "/model"), ("GET", "/metrics"), ("POST", "/reload")):
        for given in ({}, bearer("long enougH"), {"Authorization": f"Basic {TOKEN}"}, bearer("\xff\xfe")):
            status, document, headers = guarded.ask(method, path, **given)
            assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
            assert "Bearer TOKEN" in document["error"]
    assert guarded.predict(pictures[0], **bearer())[0] == 200


def test_a_body_is_counted_while_it_comes(guarded):
    large, token = bytes(200_001), bearer()
    assert guarded.predict(bytes(200_000), **token)[0] == 422
    assert guarded.predict(large, **token)[:2] == (413, {"error": "The body has more than 0.2 MB."})
    chunks = (large[:50_000] for _ in range(6))
    assert guarded.ask("POST", "/predict", chunks, Content_Type="image/png", **token)[0] == 413
    asked = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer long enough\r\n"
    asked += b"Content-Type: image/png\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n"
    started = time.monotonic()
    answer = guarded.send(asked)  # which ends the connection
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("pause_s", [9, 0.3], ids=["stops", "trickles"])
def test_a_body_that_comes_slowly_is_given_up(guarded, pause_s):
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer long enough\r\n"
    head += b"Content-Type: image/png\r\nContent-Length: 1000\r\n\r\nx"
    stop = threading.Event()

    def trickle(connection):
        def send():
            while not stop.wait(pause_s):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

        threading.Thread(target=send, daemon=True).start()

    answer = guarded.send(head, trickle)
    stop.set()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert guarded.service.held.now == 0


def test_many_bodies_at_a_time_are_not_held(guarded):
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer long enough\r\n"
    head += b"Content-Type: image/png\r\nContent-Length: 180000\r\n\r\n"
    got = []
    threads = [
        threading.Thread(target=lambda: got.append(guarded.send(head + bytes(170_000)))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = sorted(answer.split(b" ", 2)[1] for answer in got)
    assert b"503" in statuses
    assert set(statuses) <= {b"408", b"503"}
    busy = next(answer for answer in got if b" 503 " in answer[:20])
    assert b"retry-after: 1\r\n" in busy.lower()
    assert guarded.service.held.now == 0


@pytest.mark.parametrize(
    ("body", "kind", "status", "reason"),
    [
        (
            make_form(*[("a.png", b"x")] * 4)[0],
            "multipart/form-data; boundary=x",
            413,
            "more than 3 pictures",
        ),
        (
            make_form()[0],
            "multipart/form-data; boundary=x",
            400,
            "no picture|damaged",
        ),  # as of python-multipart
        (make_form(("a", b"x"))[0][:-9], "multipart/form-data; boundary=x", 400, "breaks off"),
        (make_form(("a", b"x"))[0], "multipart/form-data; boundary=y", 400, "damaged"),
        (make_form(("a", b"x"))[0], "multipart/form-data", 400, "damaged"),
        (make_form(("a" * 3000, b"x"))[0], "multipart/form-data; boundary=x", 400, "too long"),
        (FIELD, "multipart/form-data; boundary=x", 400, "no file"),
    ],
    ids=["many", "none", "cut off", "other boundary", "no boundary", "long header", "field"],
)
def test_forms_that_are_refused(guarded, body, kind, status, reason):
    found = guarded.ask("POST", "/predict", body, Content_Type=kind, **bearer())
    assert found[0] == status
    assert re.search(reason, found[1]["error"])


def test_new_files_are_loaded_when_asked(guarded, pictures):
    path = guarded.service.models.get("default").path
    old = guarded.predict(pictures[0], **bearer())[1]
    assert guarded.ask("POST", "/reload", **bearer())[1] == {"reloaded": []}
    kept = path.read_bytes()
    write_checkpoint(path, ("cats", "dogs", "emus"), 7)
    assert guarded.predict(pictures[0], **bearer())[1] == old  # until it is asked
    assert guarded.ask("POST", "/reload", **bearer())[:2] == (200, {"reloaded": ["default"]})
    assert len(guarded.predict(pictures[0], **bearer())[1][0]["predictions"]) == 3
    path.write_bytes(b"damaged")
    status, document, _ = guarded.ask("POST", "/reload", **bearer())
    assert status == 409
    assert "best.pt" in document["error"]
    assert len(guarded.predict(pictures[0], **bearer())[1][0]["predictions"]) == 3
    path.write_bytes(kept)
    assert guarded.ask("POST", "/reload", **bearer())[0] == 200
    assert guarded.predict(pictures[0], **bearer())[1] == old


def test_no_request_is_dropped_while_files_are_loaded(guarded, pictures):
    path = guarded.service.models.get("default").path
    kept, ended, statuses = path.read_bytes(), threading.Event(), []

    def keep_asking():
        while not ended.is_set():
            statuses.append(guarded.predict(pictures[0], **bearer())[0])

    threads = [threading.Thread(target=keep_asking) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(4):
        write_checkpoint(path, ("cats", "dogs"), 10 + number)
        assert guarded.ask("POST", "/reload", **bearer())[1] == {"reloaded": ["default"]}
    ended.set()
    for thread in threads:
        thread.join()
    path.write_bytes(kept)
    assert guarded.ask("POST", "/reload", **bearer())[0] == 200
    assert len(statuses) > 4
    assert set(statuses) == {200}


def test_the_models_are_described(guarded):
    document = guarded.ask(path="/model", **bearer())[1]
    assert document["default"] == "default"
    one, two = document["models"]
    assert (one["name"], two["name"], two["file"]) == ("default", "two", "best.pt")
    assert one["classes"] == [{"class": "cats", "name": "cats"}, {"class": "dogs", "name": "dogs"}]
    assert one["digest"] != two["digest"]
    assert one["arch"] == "simple_cnn"
    assert guarded.ask()[1] == {"status": "ok", "waiting": 0}


def test_a_bug_is_a_sentence_and_the_service_goes_on(checkpoint, pictures, monkeypatch):
    said = []
    with running(catdog_cli.app(checkpoint, log=said.append, device="cpu")) as served:
        monkeypatch.setattr(served.service.models, "get", lambda name: 1 // 0)
        status, document, _ = served.predict(pictures[0])
        assert (status, document) == (500, {"error": "Something went wrong here: the log says what."})
        assert "ZeroDivisionError" in said[0]
        monkeypatch.undo()
        assert served.predict(pictures[0])[0] == 200


def test_numbers_that_are_none_are_no_answer(served, pictures, monkeypatch):
    nothing = ClassProbability("cats", "cats", float("nan"))
    monkeypatch.setattr(served.service.batcher, "run", lambda *_: [Prediction("-", None, (nothing,))])
    status, document, _ = served.predict(pictures[0])
    assert (status, set(document)) == (500, {"error"})


@pytest.fixture
def stuck(checkpoint, monkeypatch):
    """Return a service whose networks wait until its `go` is set, with little room."""
    go, records = threading.Event(), []
    limits = Limits(queue=2)
    with running(
        catdog_cli.app(checkpoint, limits=limits, on_request=records.append, device="cpu")
    ) as served:
        answer = served.service.batcher.run
        monkeypatch.setattr(
            served.service.batcher, "run", lambda *asked: go.wait(PATIENCE_S) and answer(*asked)
        )
        served.service.go, served.service.records = go, records
        yield served
        go.set()


def wait_until(true):
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_client_that_leaves_frees_its_place(stuck, pictures):
    batcher = stuck.service.batcher
    with ThreadPoolExecutor(batcher.free) as pool:
        busy = [pool.submit(stuck.predict, pictures[0]) for _ in range(batcher.free)]
        wait_until(lambda: batcher.free == 0)
        head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(pictures[1])}\r\n"
        with socket.create_connection(("127.0.0.1", stuck.port)) as connection:
            connection.sendall(f"{head}Content-Type: image/png\r\n\r\n".encode() + pictures[1])
            wait_until(lambda: len(batcher.waiting) == 1)
        wait_until(lambda: not batcher.waiting)
        wait_until(lambda: [record.status for record in stuck.service.records] == [499])
        stuck.service.go.set()
        assert [each.result()[0] for each in busy] == [200] * len(busy)


def test_a_full_queue_is_told(stuck, pictures):
    batcher = stuck.service.batcher
    number = batcher.free + 2  # in the networks, and in the queue
    with ThreadPoolExecutor(number) as pool:
        asked = [pool.submit(stuck.predict, pictures[0]) for _ in range(number)]
        wait_until(lambda: len(batcher.waiting) == 2)
        status, document, headers = stuck.predict(pictures[1])
        assert (status, headers["Retry-After"]) == (503, "1")
        assert document == {"error": "Too many pictures are waiting: try again."}
        stuck.service.go.set()
        assert {each.result()[0] for each in asked} == {200}


def test_a_long_wait_ends(stuck, pictures):
    stuck.service.limits = dataclasses.replace(stuck.service.limits, answer_s=0.3)
    status, document, headers = stuck.predict(pictures[0])
    assert (status, headers["Retry-After"]) == (503, "5")
    assert document == {"error": "It takes too long: try again."}
    stuck.service.go.set()
    stuck.service.limits = dataclasses.replace(stuck.service.limits, answer_s=60)
    assert stuck.predict(pictures[1])[0] == 200


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"host": "0.0.0.0"}, "lets other machines in: say under which names"),
        ({"allow_hosts": ["http://pets.example"]}, "must be a name or an address"),
        ({"allow_hosts": ["pets.example:80"]}, "must be a name or an address"),
        ({"token": ""}, "fewer than 8 characters"),
        ({"models": {"a/b": "x"}}, "'a/b' is not a name for a model"),
        ({"models": {"default": "x"}}, "was given twice"),
        ({"page": "no"}, "has no index.html"),
        ({"unknown_rate": 2}, "unknown rate"),
    ],
)
def test_what_cannot_be_served_is_said(checkpoint, options, match):
    with pytest.raises(catdog_cli.CatdogError, match=match):
        catdog_cli.app(checkpoint, **options)


def test_there_must_be_something_to_serve():
    with pytest.raises(catdog_cli.CatdogError, match="nothing to serve"):
        catdog_cli.app()


def test_another_address_answers_by_its_names(checkpoint):
    app = catdog_cli.app(checkpoint, host="0.0.0.0", allow_hosts=["Pets.example", "::2"], device="cpu")
    with running(app) as served:
        assert served.ask(Host="pets.example:8443")[0] == 200
        assert served.ask(Host="[::2]")[0] == 200
        assert served.ask(Host="localhost")[0] == 200
        assert served.ask(Host="0.0.0.0")[0] == 421


def test_a_folder_is_served_in_place_of_the_page(checkpoint, tmp_path):
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text("<p>mine</p>")
    (tmp_path / "page" / "x.wasm").write_bytes(b"\0asm")
    (tmp_path / "page" / "secret.pem").write_text("key")
    (tmp_path / "secret.js").write_text("no")
    with running(catdog_cli.app(checkpoint, page=tmp_path / "page", device="cpu")) as served:
        assert served.ask(path="/")[1] == b"<p>mine</p>"
        status, content, headers = served.ask(path="/x.wasm")
        assert (status, content, headers["Content-Type"]) == (200, b"\0asm", "application/wasm")
        assert served.ask(path="/x.wasm", If_None_Match=headers["ETag"])[:2] == (304, b"")
        assert served.ask("HEAD", "/x.wasm")[:2] == (200, b"")
        assert served.ask(path="/secret.pem")[0] == 404
        assert served.ask(path="/../secret.js")[0] == 404
        assert served.ask(path="/docs")[0] == 200
