"""int8: the networks' weights and activations as bytes, by what they are on training images.

Static, in QDQ form, weights as signed bytes with a scale for each channel, activations as unsigned ones: what
ONNX Runtime computes fastest on CPUs. Preprocessing, the head, and what strangers are told by stay in float.
"""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CatdogError, DataError
from ..images.read import ImageError, read_pixels
from ..inference.onnx_metadata import IMAGES
from ..runtime.onnx_packages import import_onnx, import_quantisation
from ..settings_networks import specs_of
from .graph import NETWORK
from .job import Job
from .pictures import Images, find_images

NUM_CALIBRATION = 100  # training images by which ranges are found
KINDS = (
    *("Conv", "Gemm", "MatMul", "Add", "Mul", "Clip", "Relu", "HardSwish", "Sigmoid", "HardSigmoid"),
    *("AveragePool", "GlobalAveragePool", "MaxPool", "ReduceMean", "Reshape", "Flatten", "Concat", "Pad"),
)


def find_training_images(job: Job) -> Images:
    """Return training images to find ranges by.

    Raises:
        DataError: there are none.
    """
    try:
        return find_images(job.model, job.checkpoint, job.data, job.log, "train").first(NUM_CALIBRATION)
    except DataError as error:
        raise DataError(f"int8 needs training images to find the range of each layer: {error}") from error


def quantise(model: Any, images: Images, job: Job) -> Any:
    """Return a ModelProto whose networks compute in int8.

    Raises:
        CatdogError: there is nothing in it that can, or no image can be read.
    """
    tools, onnx = import_quantisation(), import_onnx()
    chosen = [
        node.name
        for node in model.graph.node
        if node.name.startswith(f"{NETWORK}/") and node.op_type in KINDS
    ]
    reader = _Reader(images, max(spec.resize for spec in specs_of(job.model.input_spec)), job)
    with tempfile.TemporaryDirectory(prefix="catdog-int8-") as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save_model(model, str(source))
        root = logging.getLogger()
        level = root.level
        root.setLevel(logging.ERROR)  # it recommends what has been done
        try:
            tools.quantize_static(
                str(source),
                str(target),
                reader,
                quant_format=tools.QuantFormat.QDQ,
                per_channel=True,
                activation_type=tools.QuantType.QUInt8,
                weight_type=tools.QuantType.QInt8,
                nodes_to_quantize=chosen,
            )
        except CatdogError:
            raise
        except Exception as error:  # of code that is not ours, and of all kinds
            reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
            raise CatdogError(
                f"The network cannot be turned into int8 ({reason}): export --to onnx."
            ) from error
        finally:
            root.setLevel(level)
        found = onnx.load_model(str(target))
    # what was inferred on the way says that sides have no numbers, and no runtime opens that
    del found.graph.value_info[:]
    return found


class _Reader:
    """Hands images to the calibration, one by one, as the graph takes them."""

    def __init__(self, images: Images, side: int, job: Job):
        self.images, self.side, self.job = images, side, job
        self._rest = self._read()

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._rest, None)

    def _read(self) -> Iterator[dict[str, np.ndarray]]:
        count = 0
        for done, source in enumerate(self.images.sources, start=1):
            try:
                pixels = read_pixels(source, self.side)
            except ImageError:
                continue
            finally:
                self.job.on_progress("finding ranges for int8", done, len(self.images))
            count += 1
            yield {IMAGES: pixels[None]}
        if not count:
            raise DataError(f"None of {self.images.origin} can be read: give others with --data.")
