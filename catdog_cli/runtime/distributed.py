"""Several processes that work as one: who this one is, and what they tell each other.

A launcher (`torchrun`, `accelerate launch`) starts the same command several times. The processes meet through
torch's process group: gloo for CPUs, NCCL for GPUs; what is said besides gradients goes through gloo.
`processes()` is whoever works together now: after `open_group` all of them, before it this one alone, for
whom everything here costs nothing. So what is below reads as if there were one.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import CatdogError, LostProcessError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
STEP_TIMEOUT = timedelta(minutes=5)  # for an answer of the others, who do as much work as this one
MAIN_TIMEOUT = timedelta(days=1)  # for what the main process does alone: scanning, hashing, reports
SPOKEN = "catdog/spoken"


@dataclass(eq=False)
class Group:
    """All processes of one command; `rank` is this one's number, 0 the main one's, which alone writes."""

    rank: int = 0
    size: int = 1
    device: "torch.device | None" = None
    cpu_group: Any = None  # for what is said at every step
    slow_group: Any = None  # for waiting on the main process

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def share(self, places: "torch.Tensor", least: int = 2) -> "torch.Tensor":
        """Return this process's part of a batch (B,); too few for all go to some, `least` each.

        BatchNorm and mixing need two pictures to say or do anything.
        """
        used = max(1, min(self.size, len(places) // least))
        return places[self.rank :: used] if self.rank < used else places[:0]

    def chunks(self, items: list[T], length: int) -> list[list[T]]:
        """Return this process's part of `items` in chunks of `length`, dealt out in turn.

        One process would work on the same chunks, and gets the same last bits.
        """
        every = [items[start : start + length] for start in range(0, len(items), length)]
        return every[self.rank :: self.size]

    def gather(self, function: Callable[[], T]) -> list[T]:
        """Call `function`, which must not wait for the others, in every process; return what each returned.

        Raises:
            Exception: what the function raised here; else a CatdogError or OSError as another one raised it.
            LostProcessError: another one has ended, or did not answer.
        """
        if self.size == 1:
            return [function()]
        from torch import distributed

        value, error = None, None
        try:
            value = function()
        except Exception as raised:
            error = raised
        found: list[Any] = [None] * self.size
        with self._notice_loss():
            distributed.all_gather_object(found, (value, self._portable(error)), group=self.cpu_group)
        if error is not None:
            raise error
        for _, other in found:
            if other is not None:
                raise other
        return [each for each, _ in found]

    def in_each(self, function: Callable[[], T]) -> T:
        """As `gather`, but return only what the function returned here."""
        own: list[T] = []
        self.gather(lambda: own.append(function()))
        return own[0]

    def from_main(self, function: Callable[[], T]) -> T:
        """Call `function` in the main process alone; return in all what it returned, raise what it raised."""
        if self.size == 1:
            return function()
        from torch import distributed

        value: Any = None
        error: Exception | None = None
        if self.is_main:
            try:
                value = function()
            except Exception as raised:
                error = raised
        box: list[tuple[Any, Exception | None]] = [(value, self._portable(error))]
        with self._notice_loss():
            distributed.broadcast_object_list(box, src=0, group=self.slow_group)
        error = error or box[0][1]
        if error is not None:
            raise error
        said: T = value if self.is_main else box[0][0]
        return said

    def any(self, flag: bool) -> bool:
        """Say whether the flag is up in any process."""
        if self.size == 1:
            return flag
        import torch

        raised = torch.tensor([int(flag)])
        with self._notice_loss():
            torch.distributed.all_reduce(raised, torch.distributed.ReduceOp.MAX, group=self.cpu_group)
        return bool(raised.item())

    def add(self, tensors: "list[torch.Tensor]") -> None:
        """Replace each tensor by its sum over all processes, in one exchange; all have the same dtype."""
        if self.size == 1 or not tensors:
            return
        import torch

        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        with self._notice_loss():
            torch.distributed.all_reduce(flat, group=self._route(flat))
        _unpack(flat, tensors)

    def copy_from_main(self, tensors: "list[torch.Tensor]") -> None:
        """Give the tensors the values that they have in the main process."""
        if self.size == 1:
            return
        import torch

        for dtype in sorted({tensor.dtype for tensor in tensors}, key=str):  # in all in the same order
            chosen = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.detach().reshape(-1) for tensor in chosen])
            with self._notice_loss():
                torch.distributed.broadcast(flat, src=0, group=self._route(flat))
            _unpack(flat, chosen)

    def first_to_fail(self) -> bool:
        """Say whether this process is the first that ends with an error, and should name it."""
        if self.size == 1:
            return True
        try:
            from torch.distributed.distributed_c10d import _get_default_store

            return _get_default_store().add(SPOKEN, 1) == 1
        except Exception:  # whoever kept the store has ended, or torch keeps it elsewhere: better said twice
            return True

    def close(self) -> None:
        """Leave the group."""
        global _current
        _current = SOLO
        if self.size > 1:
            from torch import distributed

            distributed.destroy_process_group()

    def _route(self, tensor: "torch.Tensor") -> Any:
        """Return who carries a tensor: NCCL knows only those on GPUs."""
        return self.cpu_group if tensor.device.type == "cpu" else None

    def _portable(self, error: Exception | None) -> Exception | None:
        """Return an error as the other processes shall raise it."""
        if error is None or isinstance(error, CatdogError):
            return error
        if isinstance(error, OSError):
            return OSError(error.errno or 0, error.strerror or str(error), error.filename)
        text = f"{type(error).__name__}: {error}"
        return CatdogError(f"Process {self.rank + 1} of {self.size} failed ({text}): see what it printed.")

    @contextlib.contextmanager
    def _notice_loss(self) -> Iterator[None]:
        """Turn what torch says of a broken connection into a sentence."""
        try:
            yield
        except RuntimeError as error:  # of gloo, NCCL or the store: a peer closed, or a timeout
            minutes = f"{STEP_TIMEOUT.total_seconds() / 60:g}"
            late = "imed out" in str(error) or "imeout" in str(error)
            what = f"did not answer for {minutes} minutes" if late else "has ended (killed? out of memory?)"
            raise LostProcessError(
                f"Another of the {self.size} processes {what}, so this one cannot continue."
            ) from error


SOLO = Group()
_current = SOLO


def processes() -> Group:
    """Return the processes that work together now."""
    return _current


def _unpack(flat: "torch.Tensor", tensors: "list[torch.Tensor]") -> None:
    parts = flat.split([tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.detach().copy_(part.view_as(tensor))


def is_launched() -> bool:
    """Say whether a launcher started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def open_group(cpu: bool) -> Group:
    """Meet the other processes of this command, if a launcher started several; `processes()` is them then.

    Args:
        cpu: compute on the CPU; otherwise each process takes a GPU of its own where there are any.

    Raises:
        LostProcessError: they cannot be reached.
        CatdogError: this machine has fewer GPUs than processes.
    """
    global _current
    if not is_launched():
        return SOLO
    from torch import distributed

    device = _own_device(cpu)
    try:
        backend = "nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, timeout=STEP_TIMEOUT)  # finds the others as torchrun says
        cpu_group = distributed.new_group(backend="gloo", timeout=STEP_TIMEOUT)
        slow_group = distributed.new_group(backend="gloo", timeout=MAIN_TIMEOUT)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise LostProcessError(f"The processes do not find each other ({reason}).") from error
    _current = Group(distributed.get_rank(), distributed.get_world_size(), device, cpu_group, slow_group)
    return _current


def _own_device(cpu: bool) -> "torch.device":
    """Return the GPU of this process, which torch then takes without being told, or the CPU."""
    import torch

    if cpu or not torch.cuda.is_available():
        return torch.device("cpu")
    number, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if number >= there:
        raise CatdogError(
            f"The launcher started more than {number} processes, but this machine has {there} GPUs: start as "
            f"many as there are GPUs, or add --cpu."
        )
    torch.cuda.set_device(number)
    return torch.device("cuda", number)
