"""The packages of ONNX: onnxruntime, which answers, and onnx with onnxscript, which write files."""

from pathlib import Path
from types import ModuleType

from ..errors import require


def import_runtime() -> ModuleType:
    """Return onnxruntime, which predicting with an ONNX file needs.

    Raises:
        CatdogError: it is not installed.
    """
    return require("onnxruntime", "onnx")


def read_notices() -> dict[str, str]:
    """Return the texts that whoever passes onnxruntime on has to pass on, too, by file name.

    Raises:
        CatdogError: it is not installed.
    """
    folder = Path(str(import_runtime().__file__)).parent
    found = [folder / name for name in ("LICENSE", "ThirdPartyNotices.txt")]
    return {path.name: path.read_text(encoding="utf-8", errors="replace") for path in found if path.is_file()}


def import_quantisation() -> ModuleType:
    """Return the part of onnxruntime that makes int8 of a network.

    Raises:
        CatdogError: it, or onnx, is not installed.
    """
    import_onnx()
    return require("onnxruntime.quantization", "onnx")


def import_onnx() -> ModuleType:
    """Return onnx.

    Raises:
        CatdogError: it is not installed.
    """
    return require("onnx", "export")


def require_exporter() -> None:
    """Make sure that torch's exporter finds what it needs.

    Raises:
        CatdogError: onnxscript is not installed.
    """
    require("onnxscript", "export")
