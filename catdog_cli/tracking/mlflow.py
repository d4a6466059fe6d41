"""Following a run in MLflow: a listener of training, opened by `follow`.

MLflow is told from a thread of its own; what it misses is kept in the run directory and sent later.
"""

import contextlib
import json
import os
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CatdogError, InterruptedRunError, SettingsError
from ..runs import directory
from ..runs.directory import write_run_file
from ..settings_schema import check_kind
from ..training.events import EpochEnded, Event, RunEnded, RunResumed, RunStarted
from ..tuning.events import TrialEnded
from .mlflow_check import look
from .mlflow_store import ADDRESS, MlflowStore, StoreError, hide_password
from .run_params import describe_run, hash_file, list_files, metrics_row, read_json_lines

if TYPE_CHECKING:
    from ..training.checkpointing import Progress
    from ..training.result import RunResult
    from ..training.setup import Setup

EXPERIMENT = "catdog"
NOTE_FILE, PENDING_FILE = directory.MLFLOW_NOTE, directory.MLFLOW_PENDING
NOT_SENT = (directory.LAST, NOTE_FILE, PENDING_FILE, directory.TENSORBOARD)  # of no use there
RETRY_S = 30.0  # between attempts to reach MLflow while it does not answer
Log = Callable[[str], None]


def open_tracker(
    run_dir: Path,
    uri: str | None,
    experiment: str | None,
    model: str | None,
    log: Log,
    resuming: bool = False,
) -> "Tracker | None":
    """Return what follows a run in MLflow, or None where nobody asked for it.

    The address is `uri`, else on resume that of the run so far, else the environment's MLFLOW_TRACKING_URI.

    Raises:
        StoreError: MLflow does not answer. On resume it may be away, unless its address was given again.
        SettingsError: a name makes no sense, or belongs to --mlflow alone.
        CatdogError: mlflow is not installed.
    """
    note = _read_note(run_dir) if resuming else {}
    chosen = _choose_address(uri, experiment, model, note)
    if chosen is None:
        return None
    store = MlflowStore(chosen, experiment or note.get("experiment") or EXPERIMENT)
    tracker = Tracker(store, run_dir, model or note.get("model"), log, note)
    try:
        store.check(tracker.model)
    except StoreError as error:
        if uri is not None or not note:
            raise
        tracker.lose(error)
    return tracker


def try_address(uri: str | None, experiment: str | None, model: str | None) -> dict[str, Any] | None:
    """Return what a run that starts now would find in MLflow, as `mlflow_check.look` says; write nothing.

    None where nobody asked for MLflow. Raises as `open_tracker` does.
    """
    chosen = _choose_address(uri, experiment, model, {})
    return None if chosen is None else look(chosen, experiment or EXPERIMENT, model)


def _choose_address(
    uri: str | None, experiment: str | None, model: str | None, note: dict[str, Any]
) -> str | None:
    """Return the address that is given, noted or in the environment, once the names make sense."""
    chosen = uri if uri is not None else note.get("uri") or os.environ.get(ADDRESS) or None
    if chosen is not None:
        _check_names(uri, experiment, model, note)
    elif experiment or model:
        raise SettingsError("--mlflow-experiment and --mlflow-model need --mlflow URI: add it.")
    return chosen


def _check_names(uri: str | None, experiment: str | None, model: str | None, note: dict[str, Any]) -> None:
    for name, value in (("mlflow", uri), ("mlflow-experiment", experiment), ("mlflow-model", model)):
        check_kind(f"--{name}", value, (str, type(None)), "a text")
    if model is not None and (not model.strip() or "/" in model or ":" in model):
        raise SettingsError(f"--mlflow-model {model!r} cannot be a name: it is empty, or holds / or :.")
    if experiment is not None and not experiment.strip():
        raise SettingsError("--mlflow-experiment is empty: give a name, or leave it out.")
    if experiment and note.get("experiment", experiment) != experiment:
        raise SettingsError(
            f"--mlflow-experiment {experiment!r} cannot change on resume: the run is in "
            f"{note['experiment']!r}. Leave it out."
        )


def _read_note(run_dir: Path) -> dict[str, Any]:
    """Return mlflow.json, which names the MLflow run of this run; {} if there is none."""
    try:
        note = json.loads((run_dir / NOTE_FILE).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CatdogError(
            f"Cannot read {str(run_dir / NOTE_FILE)!r} ({error}): remove it to start a new MLflow run."
        ) from error
    return note if isinstance(note, dict) else {}


class Tracker:
    """Sends one run to MLflow: parameters and metrics while it trains, files and the model at its end."""

    def __init__(self, store: MlflowStore, run_dir: Path, model: str | None, log: Log, note: dict[str, Any]):
        self.store, self.run_dir, self.model, self.log, self.note = store, run_dir, model, log, note
        self.run_id: str | None = note.get("run_id")
        self.known: set[int] | None = None if self.run_id else set()  # steps that MLflow has
        self.step = 0  # epochs so far, over all phases
        # to be sent: {"params"}, {"step", "time_ms", "metrics"}, or {"trial", "of", "row"} of a search
        self.waiting: list[dict[str, Any]] = []
        self.trials_there: list[str] = list(note.get("trials") or ())  # that MLflow has
        self.trials = set(self.trials_there)  # and those that wait
        self.num_kept = 0  # of them, in the pending file
        self.class_names: list[str] = []
        self.has_custom_head = False
        self.lost_at: float | None = None
        self.warned = False
        self.news: list[str] = []  # said by the main thread, when it comes by
        self.queue: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.thread = threading.Thread(target=self._work, daemon=True, name="mlflow")

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunResumed):
            self._on_resume(event.progress)
        elif isinstance(event, RunStarted):
            self._on_setup(event.setup, event.run_dir)
        elif isinstance(event, EpochEnded):
            self._on_epoch(event.row)
        elif isinstance(event, TrialEnded):
            self._on_trial(event)
        elif isinstance(event, RunEnded):
            self.finish(event.result)
        self._log_news()

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        """End the MLflow run where training ended early; `finish` does it otherwise."""
        if kind is None or issubclass(kind, KeyboardInterrupt) or not self.thread.is_alive():
            return  # a second Ctrl-C waits for nobody
        self._stop_thread()
        with contextlib.suppress(StoreError):  # the error that ended training is the one to hear of
            if run_id := self._deliver(force=True):
                self.store.close(run_id, "KILLED" if kind is InterruptedRunError else "FAILED")
        self._log_news()

    def _on_resume(self, progress: "Progress") -> None:
        """Take up again what is in the history; `_deliver` leaves out what MLflow has of it."""
        trials = [item for item in self.waiting if "trial" in item]
        pending = {
            item["step"]: item for item in read_json_lines(self.run_dir / PENDING_FILE) if "step" in item
        }
        self.step = len(progress.history)
        rows = [pending.get(step) or metrics_row(step, row) for step, row in enumerate(progress.history, 1)]
        self.waiting = [*trials, *rows]

    def _on_setup(self, setup: "Setup", run_dir: Path) -> None:
        self.class_names = setup.dataset.class_names
        self.has_custom_head = setup.settings.head.is_custom
        self._start()
        self.queue.put({"params": describe_run(setup)})

    def _start(self) -> None:
        """Begin to send, with what an earlier session could not send behind what resuming has found."""
        if self.thread.ident is not None:  # a search has trials before it has a setup
            return
        (self.run_dir / PENDING_FILE).unlink(missing_ok=True)
        if self.run_id is None:
            self._write_note(published=None)
        self.thread.start()

    def _on_trial(self, event: TrialEnded) -> None:
        """Send a trial of a search, once: a search that goes on tells of those before, too."""
        key = f"{event.stage}-{event.number}"
        if key in self.trials:
            return
        self.trials.add(key)
        self._start()
        scores = {"score": event.score, "loss": event.loss, "seconds": event.seconds}
        row = metrics_row(event.number, {f"trial_{name}": value for name, value in scores.items()})
        params = {"stage": event.stage, **event.params, "given_up": event.score is None}
        self.queue.put({"trial": key, "of": params, "row": row})

    def _on_epoch(self, row: dict[str, Any]) -> None:
        self.step += 1
        self.queue.put(metrics_row(self.step, row))

    def finish(self, result: "RunResult") -> None:
        """Send what is left, the files of the run directory and the model; say where they are."""
        self._stop_thread()
        if run_id := self._deliver(force=True):
            try:
                self._publish(run_id, result)
            except CatdogError as error:
                self.lose(error)
                self._keep([{"files": "all"}])
        self._log_news()

    def _publish(self, run_id: str, result: "RunResult") -> None:
        if result.best is not None:
            best = {f"best_{name}": value for name, value in result.best.items() if name.startswith("val_")}
            self.store.send_rows(run_id, [metrics_row(self.step, best)])
        self.store.upload(run_id, self.run_dir, list_files(self.run_dir, NOT_SENT))
        checkpoint = self.run_dir / directory.BEST
        said = ""
        if self.has_custom_head:
            self.news.append(
                "MLflow has the files of this run, but no model: its head is a module of yours, and without "
                f"that it cannot load one. Use catdog_cli.Predictor.load({str(checkpoint)!r}, head=MODULE)."
            )
        elif checkpoint.exists():
            published = {"sha256": hash_file(checkpoint), "name": self.model}
            if self.note.get("published") != published:
                version = self.store.publish(run_id, checkpoint, self.class_names, self.model)
                self._write_note(published=published)
                said = f"; model {self.model!r} version {version}" if version else ""
        self.store.close(run_id, "FINISHED")
        where = hide_password(self.store.uri)
        self.news.append(f"MLflow: run {run_id} of experiment {self.store.experiment!r} at {where}{said}")

    def _work(self) -> None:
        """The thread: send what comes, as much at once as there is, until None comes."""
        while (item := self.queue.get()) is not None:
            items = [item]
            with contextlib.suppress(queue.Empty):
                while (more := self.queue.get_nowait()) is not None:
                    items.append(more)
                self.queue.put(None)
            self.waiting += items
            self._deliver()

    def _stop_thread(self) -> None:
        self.queue.put(None)
        self.thread.join()

    def _deliver(self, force: bool = False) -> str | None:
        """Send all that waits, or keep it in the pending file; return the MLflow run that has everything."""
        resting = self.lost_at is not None and time.monotonic() - self.lost_at < RETRY_S
        if resting and not force:
            self._keep(self.waiting[self.num_kept :])
            return None
        try:
            run_id, known = self._open_run()
            for item in self.waiting:
                if "params" in item:
                    self.store.send_params(run_id, item["params"])
            rows = [item for item in self.waiting if item.get("step", 0) not in {0, *known}]
            self.store.send_rows(run_id, rows)
            self._send_trials(run_id)
        except CatdogError as error:  # StoreError, or the note cannot be written
            self.known = None if self.run_id else set()  # what arrived in spite of it is asked for
            self.lose(error)
            self._keep(self.waiting[self.num_kept :])
            return None
        known.update(row["step"] for row in rows)
        if self.num_kept:
            self.news.append("MLflow answers again and has what it missed.")
        self.waiting, self.num_kept, self.lost_at = [], 0, None
        (self.run_dir / PENDING_FILE).unlink(missing_ok=True)
        return run_id

    def _send_trials(self, run_id: str) -> None:
        """Send the trials that wait, and note which ones MLflow has."""
        trials = [item for item in self.waiting if "trial" in item]
        for item in trials:
            self.store.send_trial(run_id, item["trial"], item["of"], item["row"])
            self.waiting.remove(item)
            self.trials_there.append(item["trial"])
        if trials:
            self._write_note(published=self.note.get("published"))

    def _open_run(self) -> tuple[str, set[int]]:
        """Start an MLflow run, or resume the one of before; return it, and the steps that it has.

        Where the one of before is gone, all is sent to a new one.
        """
        run_id, known = self.run_id, self.known
        if run_id is not None and known is None:
            known = self.store.reopen(run_id)
            if known is None:
                self.news.append(f"MLflow no longer has the run {run_id}: a new one is started.")
        if run_id is None or known is None:
            self.run_id = run_id = self.store.start(self.run_dir.name)
            known = set()
            self._write_note(published=None)
        self.known = known
        return run_id, known

    def _write_note(self, published: dict[str, Any] | None) -> None:
        self.note = {
            "uri": hide_password(self.store.uri),
            "experiment": self.store.experiment,
            "model": self.model,
            "run_id": self.run_id,
            "published": published,
            **({"trials": self.trials_there} if self.trials_there else {}),
        }
        write_run_file(self.run_dir / NOTE_FILE, (json.dumps(self.note, indent=1) + "\n").encode())

    def lose(self, error: CatdogError) -> None:
        """Note that MLflow does not answer; the user hears of it once."""
        self.lost_at = time.monotonic()
        if not self.warned:
            self.warned = True
            self.news.append(
                f"Warning: {error} Training continues; what MLflow misses is kept in "
                f"{str(self.run_dir / PENDING_FILE)!r} and sent at the end, or by "
                f"`catdog train --resume {self.run_dir}`."
            )

    def _keep(self, items: list[dict[str, Any]]) -> None:
        """Write items into the pending file, behind those that are there."""
        try:
            with (self.run_dir / PENDING_FILE).open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(item) + "\n" for item in items)
            self.num_kept += len(items)
        except OSError as error:
            self.news.append(f"Warning: cannot write {PENDING_FILE} ({error.strerror}); a resume sends all.")

    def _log_news(self) -> None:
        while self.news:
            self.log(self.news.pop(0))
