"""Measures that change the whole process to make a command start, run and end sooner; all of them are here.

None changes a result: every number has the same bits without them. They belong to the command line, which
calls `enable`; a program that imports catdog as a library keeps its process as it is. `CATDOG_PLAIN=1`
switches them all off.
"""

import atexit
import contextlib
import functools
import importlib
import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, TypeVar, cast

if TYPE_CHECKING:
    import torch

Optimizer = TypeVar("Optimizer", bound="torch.optim.Optimizer")
PLAIN = "CATDOG_PLAIN"  # set by the user
ENABLED = "CATDOG_ENABLED"  # set by `enable`, in the environment so that child processes inherit it
TUNABLES = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=2147483647:glibc.malloc.top_pad=67108864"
SPINS = "10000"  # some tens of microseconds: a thread that is really at work has answered by then
COMPILER = "torch._dynamo"
HELPERS = f"{COMPILER}.utils"


def is_plain() -> bool:
    """Say whether the user switched all measures off, with CATDOG_PLAIN=1."""
    return os.environ.get(PLAIN, "") not in ("", "0")


def enable() -> None:
    """Switch the measures on for this process and for those that it starts, unless CATDOG_PLAIN is set."""
    os.environ[ENABLED] = "1"


def is_active() -> bool:
    """Say whether measures may be taken: this process is a command line, and not a plain one."""
    return ENABLED in os.environ and not is_plain()


def replace_process() -> None:
    """Start this process again with other settings of glibc and OpenMP, which are read only at its start.

    Gains: glibc returns large blocks to the system after every batch, and the page faults that follow take up
    to half of the time of large batches. Torch's threads spin while they wait for each other, which makes
    training up to four times slower where another program wants the cores too: with 10,000 turns instead of
    libgomp's 300,000, beside two busy processes, 76 instead of 52 images a second train from scratch.

    Applies to: Linux with glibc 2.26 or newer, which has GLIBC_TUNABLES, and a torch that uses GNU's OpenMP,
    as its packages for Linux do; elsewhere the settings are ignored. What the user has set stays. Call it
    before torch is imported.
    """
    if not is_active() or not sys.platform.startswith("linux") or "GLIBC_TUNABLES" in os.environ:
        return
    os.environ["GLIBC_TUNABLES"] = TUNABLES
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    os.execv(sys.executable, sys.orig_argv)


def leave(code: int, *streams: TextIO) -> NoReturn:
    """End the process with `code` as Python would and flush `streams`, but do not free torch piece by piece.

    Gains: about a second of every command that imported torch. Applies to: every version of torch so far.
    """
    if not is_active() or "torch" not in sys.modules:
        sys.exit(code)
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are not daemons, as Python does first
    atexit._run_exitfuncs()
    try:
        for stream in streams:
            stream.flush()
    except OSError as error:  # what is left to write has no reader, or no room on the disk
        code = code or (0 if isinstance(error, BrokenPipeError) else 1)
    os._exit(code)


def import_without_compiler(*names: str) -> None:
    """Import modules that ask for torch's compiler only in passing, without it.

    torchvision imports `torch._dynamo` for a name and a decorator that only compiled code needs, and with it
    sympy and about 900 modules. A module of its name stands in for it during the import. Code that really
    compiles gets the real one, and so does what it finds decorated with `keep_compiler_out`.

    Gains: a second of every command's start; an image is predicted in 1.8 instead of 2.9 s. Applies to: torch
    2.11 and torchvision 0.26, the oldest that catdog takes, up to at least 2.14 and 0.29. A torchvision that
    wants more of the compiler is imported with it.
    """
    with contextlib.suppress(ImportError), _compiler_stands_by():
        for name in names:
            importlib.import_module(name)
    for name in names:
        importlib.import_module(name)


@contextlib.contextmanager
def _compiler_stands_by() -> Iterator[None]:
    """Put stand-ins for the compiler in place, unless it is there; what they lack is the real one's."""
    if not is_active() or COMPILER in sys.modules:
        yield
        return
    stand_ins = {name: ModuleType(name) for name in (COMPILER, HELPERS)}
    vars(stand_ins[COMPILER])["disable"] = keep_compiler_out
    vars(stand_ins[HELPERS])["is_compile_supported"] = _is_compile_supported

    def remove() -> None:
        for name, module in stand_ins.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]

    def ask(own_name: str, name: str) -> Any:
        if name.startswith("__"):  # what inspect and import ask of every module
            raise AttributeError(name)
        remove()
        return getattr(importlib.import_module(own_name), name)

    for own_name, module in stand_ins.items():
        vars(module)["__getattr__"] = functools.partial(ask, own_name)
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        remove()


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


def without_compiler(kind: type[Optimizer]) -> type[Optimizer]:
    """Return an optimizer's class whose steps do not import torch's compiler.

    Torch wraps `step` and four other methods in what a compiler has to know of them, and imports it when the
    first is called. `step` itself is no_grad once these are off, as it is with them.

    Gains: 1.3 s of the first training in a process. Applies to: torch 2.11 up to at least 2.14.
    """
    if not is_active():
        return kind
    made: type[Optimizer] = _without_compiler(cast(Any, kind))  # mypy takes a class for not hashable
    return made


@functools.cache
def _without_compiler(kind: Any) -> Any:
    import torch

    for method in vars(torch.optim.Optimizer).values():
        function = getattr(method, "__wrapped__", None)
        if function is not None and not hasattr(function, "__dynamo_disable"):
            function.__dynamo_disable = keep_compiler_out(function, wrapping=False)
    return type(kind.__name__, (kind,), {"step": torch.no_grad()(inspect.unwrap(kind.step))})


@contextlib.contextmanager
def quiet_threads(package: str) -> Iterator[None]:
    """Keep the threads of `package` from printing a traceback of what they also raise in the main thread.

    Gains: an error is shown once, as one sentence. Applies to: the thread in which tensorboard (last seen in
    2.21) writes event files.
    """
    if not is_active():
        yield
        return
    before = threading.excepthook

    def ignore_own(failure: threading.ExceptHookArgs) -> None:
        if not type(failure.thread).__module__.startswith(f"{package}."):
            before(failure)

    threading.excepthook = ignore_own
    try:
        yield
    finally:
        threading.excepthook = before
