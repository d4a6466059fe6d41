"""Runs followed in MLflow, read back through MLflow's own client; and in TensorBoard's event files."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request

import pytest
from torch import nn

import catdog_cli
from catdog_cli import cli
from catdog_cli.errors import CatdogError, InterruptedRunError
from catdog_cli.inference.predictor import Predictor
from catdog_cli.settings import Phase
from catdog_cli.tracking.mlflow import PENDING_FILE, open_tracker
from catdog_cli.tracking.mlflow_store import ADDRESS, MlflowStore, absolute_uri, hide_password, load_mlflow
from catdog_cli.tracking.run_params import read_json_lines
from catdog_cli.tracking.tensorboard import open_event_writer
from catdog_cli.training import run
from catdog_cli.training.events import broadcast

from ..conftest import PATIENCE_S
from ..training.runs import Events, resume, settings_for

pytest.importorskip("mlflow", reason="the extra 'track' is not installed")
QUICK = ("--arch", "simple_cnn", "--weights", "none", "--image-size", "32", "--cpu", "--precision", "fp32")
IN_PYTHON = {
    **{"arch": "simple_cnn", "weights": "none", "image_size": 32, "epochs": 1, "device": "cpu"},
    **{"precision": "fp32", "workers": 0},
}


class Server:
    """A real `mlflow server` on the loopback interface, that can be killed and started again."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.uri, self.process = folder, f"http://127.0.0.1:{self.port}", None

    def start(self):
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, **quiet},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE_S
        while not self._answers():
            log = (self.folder / "log.txt").read_text()[-2000:]
            assert self.process.poll() is None, log
            assert time.monotonic() < deadline, log
            time.sleep(0.1)
        return self

    def _answers(self):
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                return True
        except OSError:
            return False

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    made = Server(tmp_path_factory.mktemp("mlflow"))
    try:
        yield made.start()
    finally:
        made.kill()


@pytest.fixture(autouse=True)
def _no_address(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # so that what MLflow writes there goes after the test
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")  # a busy machine is no lost server


def change_database(path, statement):
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(statement)
        database.commit()


@pytest.fixture(scope="module")
def databases(tmp_path_factory):
    """Return a folder of SQLite files that cannot take a run: deleted, old, and no database."""
    folder = tmp_path_factory.mktemp("databases")
    gone = f"sqlite:///{folder / 'GONE.db'}"
    open_client(gone).delete_experiment(made_by_mlflow(folder, gone))
    shutil.copy(folder / "GONE.db", folder / "OLD.db")
    change_database(folder / "OLD.db", "UPDATE alembic_version SET version_num = '0123'")
    (folder / "TEXT.db").write_text("This is no database. " * 99)
    return folder


def open_client(uri):
    return load_mlflow().MlflowClient(uri, uri)


def find_runs(client, experiment="catdog"):
    found = client.get_experiment_by_name(experiment)
    return client.search_runs([found.experiment_id]) if found else []


def list_steps(client, run_id, metric="val_loss"):
    return [(each.step, each.value) for each in client.get_metric_history(run_id, metric)]


def list_artifacts(client, run_id, folder=None):
    found = []
    for each in client.list_artifacts(run_id, folder):
        found += list_artifacts(client, run_id, each.path) if each.is_dir else [each.path]
    return found


def follow(settings, run_dir, uri, *more, said=None, should_stop=lambda: False, model=None):
    """Train with MLflow listening, and `more` listeners behind it; return the MLflow run's id."""
    with open_tracker(run_dir, uri, None, model, [].append if said is None else said.append) as tracker:
        run.train(settings, run_dir, broadcast(Events(), tracker, *more), should_stop)
    return tracker.run_id


def go_on(run_dir, epochs, uri=None, said=None):
    """Resume with MLflow listening; return the MLflow run's id."""
    say = [].append if said is None else said.append
    with open_tracker(run_dir, uri, None, None, say, resuming=True) as tracker:
        run.resume(run_dir, run.Changes(epochs=epochs), broadcast(Events(), tracker))
    return tracker.run_id


def one_phase(data, epochs=3):
    return settings_for(data, Phase("scratch", epochs, unfreeze="all", batch_size=7))


def test_a_run_is_read_back_from_a_server(server, pets, tmp_path, capfd):
    options = ("--mlflow", server.uri, "--mlflow-experiment", "told", "--mlflow-model", "pets", "--json")
    phases = ("--epochs", "2", "--fine-tune-epochs", "1", "--unfreeze", "6", "--learning-rate", "0.002")
    assert cli.run(["train", str(pets), *QUICK, *phases, "--output", str(tmp_path / "run"), *options]) == 0
    logged = capfd.readouterr()
    document = json.loads(logged.out)  # MLflow's own talk must not be in it
    assert "input example" not in logged.err
    assert logged.err.count("MLflow") == 1, logged.err
    client = open_client(server.uri)
    (found,) = find_runs(client, "told")
    run_id, params, metrics = found.info.run_id, found.data.params, found.data.metrics
    assert (found.info.status, found.info.run_name) == ("FINISHED", "run")
    expected = {"arch": "simple_cnn", "phase1.learning_rate": "0.002", "phase2.unfreeze": "6", "seed": "0"}
    assert expected.items() <= params.items()
    assert (params["num_train"], params["num_val"], params["num_classes"]) == ("24", "12", "2")
    history = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    for name in ("train_loss", "val_loss", "val_accuracy", "learning_rate"):
        rows = [(step, row[name]) for step, row in enumerate(history, 1)]
        assert list_steps(client, run_id, name) == rows
    assert metrics["best_val_accuracy"] == document["best"]["accuracy"]
    artifacts = list_artifacts(client, run_id)
    assert {"best.pt", "curves.png", "settings.json", "split.csv", "model/MLmodel"} <= set(artifacts)
    assert "reports/1-scratch/report.html" in artifacts
    assert "last.pt" not in artifacts
    _check_model(client, server.uri, f"runs:/{run_id}/model", tmp_path / "run", pets)
    _check_model(client, server.uri, "models:/pets/1", tmp_path / "run", pets)

    assert cli.run(["train", "--resume", str(tmp_path / "run"), "--fine-tune-epochs", "2"]) == 0
    (found,) = find_runs(client, "told")  # the same MLflow run, whose address was kept
    assert found.info.run_id == run_id
    assert [step for step, _ in list_steps(client, run_id)] == [1, 2, 3, 4]
    assert found.data.params["phase2.epochs"] == "1"
    assert found.data.tags["resumed.phase2.epochs"] == "2"


def _check_model(client, uri, address, run_dir, pets):
    """Load a model through MLflow and compare its answers with catdog's."""
    mlflow = load_mlflow()
    mlflow.set_tracking_uri(uri)
    model = mlflow.pyfunc.load_model(address)
    assert [column.name for column in model.metadata.signature.inputs] == ["path", "image"]
    assert model.metadata.metadata == {"class_names": ["cats", "dogs"]}
    paths = sorted((pets / "val").rglob("*.png"))
    expected = list(Predictor.load(run_dir).predict(paths))
    import pandas as pd

    named = pd.DataFrame({"path": [*map(str, paths), "nowhere.png"]})
    *answers, missing = model.predict(named)
    assert (missing["class"], missing["probability"]) == ("", 0)
    assert "nowhere.png" in missing["error"]
    for answer, wanted in zip(answers, expected, strict=True):
        assert list(answer["probabilities"].values()) == pytest.approx(
            wanted.probabilities.tolist(), abs=1e-6
        )
        assert answer["class"] == ["cats", "dogs"][wanted.probabilities.argmax()]
        assert answer["error"] == ""
    sent = model.predict(pd.DataFrame({"image": [path.read_bytes() for path in paths]}))
    assert [answer["class"] for answer in sent] == [answer["class"] for answer in answers]
    assert "empty" in model.predict(pd.DataFrame({"image": [b""]}))[0]["error"]


def test_a_killed_server_costs_neither_the_run_nor_its_numbers(server, pets, tmp_path):
    said = []

    def kill(event):
        if event.kind == "epoch" and event.row["epoch"] == 2:
            server.kill()

    try:
        follow(one_phase(pets, 4), tmp_path / "run", server.uri, kill, said=said)
        assert [text for text in said if "MLflow" in text] == said
        assert len(said) == 1
        assert "Training continues" in said[0]
        assert [item["step"] for item in read_json_lines(tmp_path / "run" / PENDING_FILE) if "step" in item][
            -2:
        ] == [
            3,
            4,
        ]
        said.clear()
        assert go_on(tmp_path / "run", 5, said=said)  # still away, and still no reason to stop
        assert len(said) == 1
    finally:
        server.start()
    client = open_client(server.uri)
    run_id = go_on(tmp_path / "run", 6)
    assert [step for step, _ in list_steps(client, run_id)] == [1, 2, 3, 4, 5, 6]
    assert client.get_run(run_id).info.status == "FINISHED"
    assert "best.pt" in list_artifacts(client, run_id)
    assert not (tmp_path / "run" / PENDING_FILE).exists()


def test_a_folder_holds_a_run(pets, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "tracked"))
    run_id = follow(one_phase(pets), tmp_path / "run", None, model="pets")
    client = open_client((tmp_path / "tracked").as_uri())
    assert [step for step, _ in list_steps(client, run_id)] == [1, 2, 3]
    assert client.get_model_version("pets", "1").run_id == run_id
    assert go_on(tmp_path / "run", 3) == run_id  # nothing to train, nothing new to register
    assert len(client.search_model_versions("name='pets'")) == 1
    assert not list((tmp_path / "elsewhere").iterdir())  # MLflow itself likes to leave an mlflow.db


def test_epochs_trained_again_after_a_kill_are_sent_once(pets, tmp_path):
    run_dir, uri = tmp_path / "run", (tmp_path / "tracked").as_uri()

    def keep(event):
        if event.kind == "epoch" and event.row["epoch"] == 3:  # last.pt is of epoch 2 now
            shutil.copy(run_dir / "last.pt", tmp_path / "last.pt")

    run_id = follow(one_phase(pets, 4), run_dir, uri, keep)
    first = list_steps(open_client(uri), run_id)
    shutil.copy(tmp_path / "last.pt", run_dir / "last.pt")
    assert go_on(run_dir, 5) == run_id
    again = list_steps(open_client(uri), run_id)
    assert again[:4] == first
    assert [step for step, _ in again] == [1, 2, 3, 4, 5]


def test_a_deleted_mlflow_run_is_begun_anew_with_all_epochs(pets, tmp_path):
    uri, said = (tmp_path / "tracked").as_uri(), []
    old = follow(one_phase(pets, 2), tmp_path / "run", uri)
    client = open_client(uri)
    client.delete_run(old)
    new = go_on(tmp_path / "run", 3, said=said)
    assert new != old
    assert f"no longer has the run {old}: a new one is started" in said[0]
    assert [step for step, _ in list_steps(client, new)] == [1, 2, 3]


def test_a_run_can_be_followed_from_its_middle_on(pets, tmp_path):
    run.train(one_phase(pets, 2), tmp_path / "run", Events())
    uri = (tmp_path / "tracked").as_uri()
    run_id = go_on(tmp_path / "run", 3, uri)
    assert [step for step, _ in list_steps(open_client(uri), run_id)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InterruptedRunError("stopped"), "KILLED"),
        (CatdogError("no disk"), "FAILED"),
        (ValueError(), "FAILED"),
    ],
)
def test_the_end_of_a_run_that_did_not_finish(pets, tmp_path, error, status):
    def fail(event):
        if event.kind == "epoch":
            raise error

    uri = (tmp_path / "tracked").as_uri()
    with pytest.raises(type(error)):
        follow(one_phase(pets), tmp_path / "run", uri, fail)
    (found,) = find_runs(open_client(uri))
    assert found.info.status == status
    assert [step for step, _ in list_steps(open_client(uri), found.info.run_id)] == [1]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--mlflow", "http://127.0.0.1:9"], "'http://127.0.0.1:9'.*Connection refused"),
        (["--mlflow", "http://me:secret@127.0.0.1:9"], "'http://127.0.0.1:9'.*Connection refused"),
        (["--mlflow", "nonsense://x"], "'nonsense://x'.*check the address"),
        (["--mlflow", "sqlite:////nowhere/x.db"], "make '/nowhere'"),
        (["--mlflow", ""], "--mlflow is empty"),
        (["--mlflow", "FILE"], "is a file: write sqlite"),
        (["--mlflow", "m", "--mlflow-model", "a/b"], "'a/b' cannot be a name"),
        (["--mlflow", "m", "--mlflow-experiment", " "], "--mlflow-experiment is empty"),
        (["--mlflow-model", "pets"], "need --mlflow URI"),
    ],
)
def test_wrong_addresses_and_names_stop_before_training(pets, tmp_path, capsys, options, match):
    (tmp_path / "file").write_text("x")
    options = [str(tmp_path / "file") if option == "FILE" else option for option in options]
    code = 2 if re.search("is empty|be a name|need --mlflow", match) else 1  # wrong usage
    assert cli.run(["train", str(pets), *QUICK, "--output", str(tmp_path / "run"), *options]) == code
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith("Error: ")
    assert "secret" not in sentence
    with pytest.raises(CatdogError, match=match):
        raise CatdogError(sentence)
    assert not (tmp_path / "run").exists()


def snapshot(folder):
    """Return every file and folder below `folder`, with what is in it and when it was changed."""
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in folder.rglob("*")
    }


def made_by_mlflow(folder, uri, name="catdog"):
    """Let MLflow's own client make what lies behind an address, with one experiment in it."""
    return open_client(uri).create_experiment(name, (folder / "files").as_uri())


def dry_run(capsys, pets, *options):
    """Return the exit code, what was printed and what was said of `catdog train --dry-run`."""
    capsys.readouterr()
    code = cli.run(["train", str(pets), *QUICK, "--epochs", "1", "--dry-run", *options])
    return code, *capsys.readouterr()


def make_state(state, uri, folder, databases):
    """Bring what lies behind an address into a state: absent, without the experiment catdog, or with it."""
    if uri.startswith("sqlite:") and state != "absent":
        shutil.copy(databases / "GONE.db", folder / "runs.db")
        name = "catdog" if state == "experiment" else "cats"
        change = f"UPDATE experiments SET lifecycle_stage='active', name='{name}' WHERE name='catdog'"
        change_database(folder / "runs.db", change)
    elif state != "absent":
        made_by_mlflow(folder, uri, "catdog" if state == "experiment" else "cats")


@pytest.mark.parametrize(
    ("state", "answer"),
    [
        ("absent", "holds nothing yet: a run makes it, with the experiment 'catdog'"),
        ("no experiment", "answers; a run makes the experiment 'catdog'"),
        ("experiment", "answers and has the experiment 'catdog'"),
    ],
)
@pytest.mark.parametrize("kind", ["sqlite:///{}/runs.db", "{}/runs"])
def test_a_dry_run_asks_mlflow_and_writes_nothing(
    kind, state, answer, pets, databases, tmp_path, capsys, monkeypatch
):
    uri = kind.format(tmp_path)
    make_state(state, uri, tmp_path, databases)
    monkeypatch.chdir(tmp_path)
    before = snapshot(tmp_path)
    code, printed, _ = dry_run(capsys, pets, "--mlflow", uri, "--mlflow-model", "pets")
    assert code == 0
    assert f"MLflow at '{absolute_uri(uri)}' {answer}" in printed
    assert snapshot(tmp_path) == before


def test_a_dry_run_asks_a_server_and_says_so_in_json(server, pets, tmp_path, capsys, monkeypatch):
    made_by_mlflow(tmp_path, server.uri, "asked")
    monkeypatch.setenv(ADDRESS, server.uri)
    monkeypatch.chdir(tmp_path)
    before, own = snapshot(tmp_path), open_client(server.uri).search_experiments()
    for experiment, found in (("asked", "experiment"), ("unasked", "no experiment")):
        code, printed, _ = dry_run(capsys, pets, "--mlflow-experiment", experiment, "--json")
        facts = json.loads(printed)["mlflow"]
        assert (code, facts) == (0, {"uri": server.uri, "experiment": experiment, "found": found})
    assert len(open_client(server.uri).search_experiments()) == len(own)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--mlflow", "http://127.0.0.1:9"], "'http://127.0.0.1:9' does not do what is asked"),
        (["--mlflow", "sqlite:////nowhere/x.db"], "make '/nowhere'"),
        (
            ["--mlflow", "postgresql://me:secret@127.0.0.1:9/x"],
            "'postgresql://127.0.0.1:9/x' does not do what",
        ),
        (["--mlflow", "sqlite:///GONE.db"], "experiment 'catdog' is deleted: restore it"),
        (["--mlflow", "sqlite:///OLD.db"], "tables of another MLflow .version 0123, .*`mlflow db upgrade`"),
        (["--mlflow", "sqlite:///TEXT.db"], "TEXT.db' does not do what is asked .*not a database"),
        (["--mlflow", "TEXT.db/runs"], "TEXT.db/runs', for nothing can be written in '.*TEXT.db'"),
        (["--mlflow", "m", "--mlflow-model", "a/b"], "'a/b' cannot be a name"),
        (["--mlflow-model", "pets"], "need --mlflow URI"),
    ],
)
def test_a_dry_run_stops_where_mlflow_would_stop_the_run(
    pets, databases, capsys, monkeypatch, options, match
):
    monkeypatch.chdir(databases)
    before = snapshot(databases)
    code, printed, said = dry_run(capsys, pets, *options)
    assert (code, printed) == (2 if re.search("be a name|need --mlflow", match) else 1, "")
    assert "secret" not in said
    with pytest.raises(CatdogError, match=match):
        raise CatdogError(said)
    assert snapshot(databases) == before


def test_training_from_python_is_followed_and_resumed(pets, tmp_path):
    uri, said = (tmp_path / "tracked").as_uri(), []
    followers = [catdog_cli.track_mlflow(uri, log=said.append), catdog_cli.track_tensorboard()]
    catdog_cli.train(pets, output=tmp_path / "run", listeners=followers, **IN_PYTHON)
    again = [catdog_cli.track_mlflow(log=said.append), catdog_cli.track_tensorboard(False)]
    catdog_cli.resume(tmp_path / "run", epochs=2, listeners=again)
    (found,) = find_runs(open_client(uri))
    assert found.info.status == "FINISHED"
    assert [step for step, _ in list_steps(open_client(uri), found.info.run_id)] == [1, 2]
    assert [text.startswith(f"MLflow: run {found.info.run_id} of") for text in said] == [True, True]
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 2


def test_a_run_with_a_head_of_the_users_own_has_no_model_there(pets, tmp_path):
    uri, said = (tmp_path / "tracked").as_uri(), []
    found = catdog_cli.train(
        pets,
        output=tmp_path / "run",
        head=nn.Linear(256, 2),
        listeners=[catdog_cli.track_mlflow(uri, model="pets", log=said.append)],
        **IN_PYTHON,
    )
    assert f"Use catdog_cli.Predictor.load({str(found.checkpoint)!r}, head=MODULE)." in " ".join(said)
    assert not any("model 'pets' version" in text for text in said)
    client = open_client(uri)
    (stored,) = find_runs(client)
    artifacts = list_artifacts(client, stored.info.run_id)
    assert "best.pt" in artifacts
    assert not [path for path in artifacts if path.startswith("model/")]
    assert not client.search_registered_models()


@pytest.mark.parametrize(
    ("error", "status"), [(InterruptedRunError("stopped"), "KILLED"), (ValueError(), "FAILED")]
)
def test_what_ends_a_training_from_python_ends_its_mlflow_run(pets, tmp_path, error, status):
    def fail(event):
        if event.kind == "epoch":
            raise error

    uri = (tmp_path / "tracked").as_uri()
    with pytest.raises(type(error)):
        catdog_cli.train(
            pets, output=tmp_path / "run", listeners=[catdog_cli.track_mlflow(uri), fail], **IN_PYTHON
        )
    (found,) = find_runs(open_client(uri))
    assert found.info.status == status


def test_a_wrong_address_stops_a_training_from_python_before_it_writes(pets, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    events = []
    with pytest.raises(CatdogError, match=r"'http://127.0.0.1:9'.*Connection refused"):
        catdog_cli.train(
            pets, listeners=[events.append, catdog_cli.track_mlflow("http://127.0.0.1:9")], **IN_PYTHON
        )
    assert [event.kind for event in events] == ["open", "close"]
    assert not any((tmp_path / "checkpoints").iterdir())


def test_the_experiment_stays_what_it_was(pets, tmp_path):
    follow(one_phase(pets, 1), tmp_path / "run", (tmp_path / "tracked").as_uri())
    with pytest.raises(CatdogError, match="cannot change on resume: the run is in 'catdog'"):
        open_tracker(tmp_path / "run", None, "other", None, print, resuming=True)


def test_mlflow_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(CatdogError, match=r"needs the package 'mlflow': run `pip install 'catdog\[track\]'`"):
        open_tracker(tmp_path, "folder", None, None, print)


def test_nothing_is_followed_unless_asked(tmp_path):
    assert open_tracker(tmp_path, None, None, None, print) is None
    assert open_event_writer(tmp_path, None, print) is None


def test_addresses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute_uri("runs") == (tmp_path / "runs").as_uri()
    assert absolute_uri("sqlite:///m.db") == f"sqlite:///{tmp_path}/m.db"
    assert absolute_uri("https://a.example/x") == "https://a.example/x"
    assert hide_password("postgresql://me:word@host/db") == "postgresql://host/db"


def test_tensorboard_reads_every_epoch(pets, tmp_path):
    pytest.importorskip("tensorboard", reason="the extra 'track' is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with open_event_writer(tmp_path / "run", True, print) as board:
        run.train(one_phase(pets, 2), tmp_path / "run", broadcast(Events(), board))
    with open_event_writer(
        tmp_path / "run", None, print, resuming=True
    ) as board:  # goes on where there are files
        resume(tmp_path / "run", broadcast(Events(), board), epochs=3)
    read = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    read.Reload()
    history = read_json_lines(tmp_path / "run" / "history.jsonl")
    wanted = [(step, pytest.approx(row["val_loss"])) for step, row in enumerate(history, 1)]
    assert [(each.step, each.value) for each in read.Scalars("val_loss")] == wanted
    assert len(wanted) == 3


@pytest.mark.parametrize("before", [None, "http://elsewhere:5000"])
def test_the_environment_stays_as_the_user_has_it(before, tmp_path, monkeypatch):
    """MLflow writes its address there, where the next training in this process would find it."""
    if before is not None:
        monkeypatch.setenv(ADDRESS, before)
    MlflowStore(f"sqlite:///{tmp_path / 'runs.db'}", "told")
    assert os.environ.get(ADDRESS) == before
