"""The checkpoints that a service answers with, by name, and how new files take their place."""

import base64
import hashlib
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SettingsError, quote
from ..inference.batch import iterate_predictions
from ..inference.streams import ImageBytes
from ..runs.directory import find_checkpoint
from .limits import RefusedError

if TYPE_CHECKING:
    from ..inference.prediction import Prediction
    from ..inference.predictor import Predictor

DEFAULT = "default"  # the name of the checkpoint that was given none
NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)
READ_BYTES = 1 << 20
ANY_SIZE = tuple(range(1, 17))  # of a batch, where a predictor has no sizes of its own
# one grey pixel as a PNG: what a new network sees first, so that no client waits for what is made once
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)


@dataclass(frozen=True)
class Model:
    """A checkpoint that answers."""

    name: str
    path: Path
    digest: str  # of the file's bytes
    loaded: str  # when, in UTC, as ISO 8601 has it
    predictor: "Predictor"

    def describe(self) -> dict[str, Any]:
        """Return what GET /model says of it."""
        predictor = self.predictor
        limits: Sequence[float | None] = predictor.thresholds or [None] * len(predictor.class_names)
        classes = [
            {"class": class_name, "name": name, **({} if limit is None else {"threshold": limit})}
            for class_name, name, limit in zip(predictor.class_names, predictor.names, limits, strict=True)
        ]
        return {
            "name": self.name,
            "file": self.path.name,
            "digest": self.digest,
            "loaded": self.loaded,
            "arch": predictor.arch,
            "several_labels": predictor.task.several,
            "temperature": predictor.temperature,
            "unknown_rate": predictor.unknown_rate if predictor.tells_unknown else None,
            "classes": classes,
        }

    def predict(self, sources: Sequence[ImageBytes], top_k: int) -> list["Prediction"]:
        """Return what it says of pictures, in order."""
        return list(iterate_predictions(self.predictor, sources, top_k))

    @property
    def batch_sizes(self) -> Sequence[int]:
        """The sizes of batches that it computes, rising."""
        return getattr(self.predictor, "batches", ANY_SIZE)


class Models:
    """Models by name; the first one answers where a request names none."""

    def __init__(self, paths: Mapping[str, str | Path], load: Callable[[Path], "Predictor"]) -> None:
        """Load them all.

        Raises:
            SettingsError: there is none, or a name is none.
            CheckpointError: one cannot be loaded.
        """
        if not paths:
            raise SettingsError("There is nothing to serve: give a checkpoint or --model NAME=CKPT.")
        for name in paths:
            if not NAME.fullmatch(name):
                raise SettingsError(
                    f"{quote(name)} is not a name for a model: take letters, digits, ., - and _, 64 at most."
                )
        self._paths, self._load_file = dict(paths), load
        self._lock = threading.Lock()
        self._models = {name: self._load(name) for name in self._paths}
        self.default = next(iter(self._models))

    def __iter__(self) -> Any:
        return iter(self._models.values())

    def get(self, name: str) -> Model:
        """Return a model as it is now.

        Raises:
            RefusedError: there is none of this name.
        """
        found = self._models.get(name)
        if found is None:
            names = ", ".join(self._models)
            raise RefusedError(404, f"There is no model of this name: there are {names}.")
        return found

    def reload(self) -> list[str]:
        """Load the files that have changed, and put them in place once all are loaded; return their names.

        What is being answered meanwhile is answered by the old ones.

        Raises:
            CatdogError: one cannot be loaded, and all stays as it was.
        """
        with self._lock:
            changed = [name for name, model in self._models.items() if self._find(name)[1] != model.digest]
            self._models |= {name: self._load(name) for name in changed}
        return changed

    def _find(self, name: str) -> tuple[Path, str]:
        """Return the file of a model, and the digest of its bytes."""
        path = find_checkpoint(self._paths[name])
        digest = hashlib.blake2b(digest_size=16)
        try:
            with path.open("rb") as file:
                while part := file.read(READ_BYTES):
                    digest.update(part)
        except OSError as error:
            raise SettingsError(f"Cannot read {str(path)!r} ({error.strerror}): check it.") from error
        return path, digest.hexdigest()

    def _load(self, name: str) -> Model:
        path, digest = self._find(name)  # before it is loaded: what changes meanwhile is loaded the next time
        predictor = self._load_file(path)
        loaded = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        model = Model(name, path, digest, loaded, predictor)
        model.predict([ImageBytes("-", PIXEL)], 1)
        return model
