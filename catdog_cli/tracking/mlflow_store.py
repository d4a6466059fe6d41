"""A run as MLflow keeps it: connect, send, upload, register. The one file that imports mlflow.

Every failure is a StoreError of one sentence.
"""

import contextlib
import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from .. import __version__
from ..errors import CatdogError, SettingsError, require
from ..runtime.files import expand_home

DEFAULTS = {  # what the user has set in the environment wins
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",  # newer releases open a folder only with it
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # s
}
UPLOAD_TIMEOUT_S = 300  # a server may hand a large file on before it answers
ADDRESS = "MLFLOW_TRACKING_URI"  # where MLflow looks for its address
LOADER = "catdog_cli.inference.mlflow_model"
MAX_PARAMS, MAX_METRICS = 100, 1000  # in one request
MAX_VALUE = 500  # characters of a parameter; what older servers take


class StoreError(CatdogError):
    """MLflow does not answer, or refuses what it was asked."""


def load_mlflow() -> Any:
    """Import mlflow, with its telemetry off, its talk silent and its patience short."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    return require("mlflow", "track")


@contextlib.contextmanager
def translate_errors(uri: str) -> Iterator[None]:
    """Turn whatever MLflow raises (its own, requests', SQLAlchemy's errors) into a StoreError."""
    try:
        yield
    except CatdogError:
        raise
    except Exception as error:
        raise StoreError(
            f"MLflow at {hide_password(uri)!r} does not do what is asked ({_reason(error)}): "
            f"check the address, or start its server."
        ) from error


def _reason(error: Exception) -> str:
    text = hide_password(" ".join(str(error).split()))
    found = re.search(r"\[Errno -?\d+\] ([^'\")]+)|(timed out|unable to open database file)", text)
    return (found[1] or found[2]) if found else text[:200] or type(error).__name__


def hide_password(uri: str) -> str:
    """Return a URI without the user and password in it, to be shown and written down."""
    return re.sub(r"(?<=://)[^/@]*@", "", uri)


def absolute_uri(uri: str) -> str:
    """Return a URI that means the same from every folder: local paths become absolute.

    Raises:
        SettingsError: it is empty.
        StoreError: it names a file where a folder, or a missing folder where a file belongs.
    """
    if not uri.strip():
        raise SettingsError("--mlflow is empty: give a server, sqlite:///FILE or a folder.")
    if uri.startswith("sqlite:"):
        path = Path(expand_home(uri.removeprefix("sqlite:").removeprefix("///"))).absolute()
        if not path.parent.is_dir():
            raise StoreError(
                f"--mlflow {uri!r} lies in a folder that does not exist: make {str(path.parent)!r}."
            )
        return f"sqlite:///{path}"
    if ("://" in uri and not uri.startswith("file:")) or uri in ("databricks", "uc"):
        return uri
    path = Path(unquote(urlsplit(uri).path) if uri.startswith("file:") else expand_home(uri)).absolute()
    if path.is_file():
        raise StoreError(
            f"--mlflow {uri!r} is a file: write sqlite:///{path} for an SQLite file, or a folder."
        )
    return path.as_uri()


def check_alive(experiment: str, stage: str | None) -> None:
    """Raise StoreError for an experiment whose lifecycle stage says that it is deleted."""
    if stage == "deleted":
        raise StoreError(
            f"The MLflow experiment {experiment!r} is deleted: restore it, or choose another "
            f"--mlflow-experiment."
        )


def check_database(address: str, experiment: str) -> bool | None:
    """Return what `MlflowStore.check` would of a database without writing there; None if it has no tables.

    Raises:
        StoreError: the experiment is deleted; the tables are another MLflow's, which this one would refuse
            or change.
    """
    load_mlflow()
    from mlflow.store.db import utils
    from mlflow.store.tracking.dbmodels.models import SqlExperiment

    engine = utils.create_sqlalchemy_engine(address)
    try:
        found, wanted = utils._get_schema_version(engine), utils._get_latest_schema_revision()
        if found is None:
            return None
        if found != wanted:
            raise StoreError(
                f"The database given with --mlflow holds the tables of another MLflow (version {found}, this "
                f"one has {wanted}): keep a copy of it, then run `mlflow db upgrade`."
            )
        with engine.connect() as connection:
            query = SqlExperiment.__table__.select().where(SqlExperiment.name == experiment)
            row = connection.execute(query).first()
    finally:
        engine.dispose()
    check_alive(experiment, row and row.lifecycle_stage)
    return row is not None


@contextlib.contextmanager
def _environment_as_it_was() -> Iterator[None]:
    """Undo what MLflow writes into the environment, where the next training would take it for the user's."""
    before = os.environ.get(ADDRESS)
    yield
    if before is None:
        os.environ.pop(ADDRESS, None)
    else:
        os.environ[ADDRESS] = before


class MlflowStore:
    """One MLflow server, database or folder, and the experiment that runs go into."""

    def __init__(self, uri: str, experiment: str):
        self.uri, self.experiment = absolute_uri(uri), experiment
        self.mlflow = load_mlflow()
        with translate_errors(self.uri), _environment_as_it_was():
            self.mlflow.set_tracking_uri(self.uri)  # or saving a model makes an mlflow.db wherever this runs
            self.client = self.mlflow.MlflowClient(self.uri, self.uri)

    def check(self, model: str | None) -> bool:
        """Raise StoreError unless MLflow answers and has, or can have, the experiment and a registry.

        Return whether the experiment is there already.
        """
        with translate_errors(self.uri):
            found = self.client.get_experiment_by_name(self.experiment)
            if model is not None:
                self.client.search_registered_models(max_results=1)
        check_alive(self.experiment, found and found.lifecycle_stage)
        return found is not None

    def send_trial(self, parent: str, name: str, params: dict[str, Any], row: dict[str, Any]) -> None:
        """Send a trial of a search as a run of its own, a child of the search's."""
        child = self.start(name, parent)
        self.send_params(child, params)
        self.send_rows(child, [row])
        self.close(child, "FINISHED")

    def start(self, name: str, parent: str | None = None) -> str:
        """Begin an MLflow run, a child of `parent` where there is one, and return its id."""
        with translate_errors(self.uri):
            found = self.client.get_experiment_by_name(self.experiment)
            experiment_id = found.experiment_id if found else self._make_experiment()
            tags = {"mlflow.source.name": "catdog train", "catdog.version": __version__}
            tags |= {} if parent is None else {"mlflow.parentRunId": parent}
            return self.client.create_run(experiment_id, tags=tags, run_name=name).info.run_id

    def _make_experiment(self) -> str:
        """Make the experiment; files of an SQLite one lie beside it, not in whatever folder this runs in."""
        beside = None
        if self.uri.startswith("sqlite:"):
            folder = re.sub(r"[^\w.-]+", "-", self.experiment)
            beside = (Path(self.uri.removeprefix("sqlite:///")).parent / "mlruns" / folder).as_uri()
        return self.client.create_experiment(self.experiment, beside)

    def reopen(self, run_id: str) -> set[int] | None:
        """Go on with a run and return the steps that MLflow has of it; None if the run is not there."""
        with translate_errors(self.uri):
            try:
                run = self.client.get_run(run_id)
            except self.mlflow.MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return None
            if run.info.lifecycle_stage == "deleted":
                return None
            self.client.update_run(run_id, status="RUNNING")
            return {metric.step for metric in self.client.get_metric_history(run_id, "val_loss")}

    def send_params(self, run_id: str, params: dict[str, Any]) -> None:
        """Send parameters; one that a resumed run has changed becomes a tag, for MLflow keeps the first."""
        from mlflow.entities import Param, RunTag

        texts = {name: _shorten(str(value)) for name, value in params.items() if str(value)}
        with translate_errors(self.uri):
            there = self.client.get_run(run_id).data.params
            new = [Param(name, text) for name, text in texts.items() if name not in there]
            tags = [
                RunTag(f"resumed.{name}", text)
                for name, text in texts.items()
                if there.get(name, text) != text
            ]
            for start in range(0, len(new), MAX_PARAMS):
                self.client.log_batch(run_id, params=new[start : start + MAX_PARAMS])
            if tags:
                self.client.log_batch(run_id, tags=tags[:MAX_PARAMS])

    def send_rows(self, run_id: str, rows: list[dict[str, Any]]) -> None:
        """Send rows of {"step", "time_ms", "metrics"}, many in one request."""
        from mlflow.entities import Metric

        metrics = [
            Metric(name, float(value), row["time_ms"], row["step"])
            for row in rows
            for name, value in row["metrics"].items()
        ]
        with translate_errors(self.uri):
            for start in range(0, len(metrics), MAX_METRICS):
                self.client.log_batch(run_id, metrics=metrics[start : start + MAX_METRICS])

    def upload(self, run_id: str, root: Path, files: list[Path]) -> None:
        """Send files of `root` as artifacts, in the same folders as there."""
        with translate_errors(self.uri), self._patient():
            for file in files:
                folder = file.parent.relative_to(root).as_posix()
                self.client.log_artifact(run_id, str(file), None if folder == "." else folder)

    def publish(self, run_id: str, checkpoint: Path, class_names: list[str], name: str | None) -> str | None:
        """Log the loadable model under `model`, register it if `name` is given, and return its version."""
        with tempfile.TemporaryDirectory() as folder, translate_errors(self.uri), self._patient():
            local = Path(folder) / "model"
            self._save_model(run_id, checkpoint, class_names, local)
            self.client.log_artifacts(run_id, str(local), "model")
            return None if name is None else self._register(run_id, name)

    def _save_model(self, run_id: str, checkpoint: Path, class_names: list[str], local: Path) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "(?s).*input example was not provided", UserWarning)
            self.mlflow.pyfunc.save_model(
                local,
                loader_module=LOADER,
                data_path=str(checkpoint),
                mlflow_model=self.mlflow.models.Model("model", run_id=run_id),
                signature=build_signature(class_names),
                pip_requirements=list_requirements(),
                metadata={"class_names": class_names},
            )

    def _register(self, run_id: str, name: str) -> str:
        try:
            self.client.create_registered_model(name)
        except self.mlflow.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        source = f"{self.client.get_run(run_id).info.artifact_uri}/model"
        return str(self.client.create_model_version(name, source, run_id).version)

    def close(self, run_id: str, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED."""
        with translate_errors(self.uri):
            self.client.set_terminated(run_id, status)

    @contextlib.contextmanager
    def _patient(self) -> Iterator[None]:
        """Wait longer for an answer while files are sent, unless the user has said how long."""
        name = "MLFLOW_HTTP_REQUEST_TIMEOUT"
        if os.environ[name] != DEFAULTS[name]:
            yield
            return
        os.environ[name] = str(UPLOAD_TIMEOUT_S)
        try:
            yield
        finally:
            os.environ[name] = DEFAULTS[name]


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 3] + "..."


def build_signature(class_names: list[str]) -> Any:
    """Return the model's signature: a path or the bytes of a picture in, classes and probabilities out."""
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types import ColSpec, Schema

    inputs = Schema([ColSpec("string", "path", required=False), ColSpec("binary", "image", required=False)])
    answer = {
        "class": class_names[0],
        "probability": 1.0,
        "probabilities": dict.fromkeys(class_names, 0.5),
        "error": "",
    }
    return ModelSignature(inputs, infer_signature("", [answer]).outputs)


def list_requirements() -> list[str]:
    """Return what loading the model needs, in the versions that it was trained with."""
    import torch

    from ..runtime.vision import torchvision

    packages = {"torch": torch.__version__, "torchvision": torchvision.__version__}
    plain = [f"{name}=={str(version).split('+')[0]}" for name, version in packages.items()]
    return [f"catdog=={__version__}", *plain]
