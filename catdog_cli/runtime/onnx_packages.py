"""The packages of ONNX: onnxruntime, which answers, and onnx with onnxscript, which write files."""

from types import ModuleType

from ..errors import require


def import_runtime() -> ModuleType:
    """Return onnxruntime, which predicting with an ONNX file needs.

    Raises:
        CatdogError: it is not installed.
    """
    return require("onnxruntime", "onnx")


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
