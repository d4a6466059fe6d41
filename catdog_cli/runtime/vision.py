"""torchvision, imported without torch's compiler: half of the time of every command's start.

torchvision imports `torch._dynamo` for a name and a decorator that only compiled code needs, and with it
sympy and about 900 modules. Here a module of its name stands in for it while torchvision is imported. Whoever
really compiles gets the real one: what compiled code has to stay out of asks for it as soon as it is there.

    from ..vision import torchvision  # the only way to import it
"""

import contextlib
import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"
HELPERS = f"{COMPILER}.utils"


def keep_compiler_out(function: Callable | None = None, recursive: bool = True, **options: Any) -> Callable:
    """Return `function` as torch._dynamo.disable would, which is asked only if it has been imported."""
    if function is None:
        return functools.partial(keep_compiler_out, recursive=recursive, **options)
    disabled: list[Callable] = []

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not disabled:
            disable = getattr(sys.modules.get(COMPILER), "disable", keep_compiler_out)
            if disable is keep_compiler_out:  # nothing is being compiled
                return function(*args, **kwargs)
            disabled.append(disable(function, recursive, **options))
        return disabled[0](*args, **kwargs)

    return call


def _is_compile_supported(device_type: str) -> bool:
    return importlib.import_module(HELPERS).is_compile_supported(device_type)


@contextlib.contextmanager
def _compiler_stands_by() -> Iterator[None]:
    """Put stand-ins for the compiler in place, unless it is there; what they lack is the real one's."""
    if COMPILER in sys.modules:
        yield
        return
    stand_ins = {name: ModuleType(name) for name in (COMPILER, HELPERS)}
    stand_ins[COMPILER].disable = keep_compiler_out
    stand_ins[HELPERS].is_compile_supported = _is_compile_supported

    def leave() -> None:
        for name, module in stand_ins.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]

    def ask(own_name: str, name: str) -> Any:
        if name.startswith("__"):  # what inspect and import ask of every module
            raise AttributeError(name)
        leave()
        return getattr(importlib.import_module(own_name), name)

    for own_name, module in stand_ins.items():
        module.__getattr__ = functools.partial(ask, own_name)
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        leave()


try:
    with _compiler_stands_by():
        import torchvision
        import torchvision.io  # registers torch.ops.image
        import torchvision.transforms.v2.functional
except ImportError:  # another torchvision, which wants more of the compiler
    import torchvision
    import torchvision.io
    import torchvision.transforms.v2.functional

__all__ = ["keep_compiler_out", "torchvision"]
