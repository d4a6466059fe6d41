"""Cut a network in two where it last knows where things are: before its pooling, or before its class token.

Both parts share their modules with the network, in the form in which it predicts: run one after the other
they give the same bits as the whole.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import fx, nn

from ..models.inference_form.inference_form import InferenceForm

MAP, TOKENS, INPUT = "map", "tokens", "input"  # what lies between the two parts
PROBE_SIZES = 2  # images: a dimension of as many entries is the batch
MEAN_BOUND = 8  # times the precision of the features: what their mean over places may be off


class Cut(NamedTuple):
    """A network in two parts: (B, 3, H, W) -> trunk -> activations -> tail -> (B, D)."""

    trunk: nn.Module
    tail: nn.Module
    kind: str  # MAP, TOKENS or INPUT
    prefix: int = 0  # tokens before those of places
    is_mean: bool = False  # the tail is the mean over places, and nothing else

    def to_grid(self, activations: torch.Tensor) -> torch.Tensor:
        """Return activations as (B, C, rows, columns); tokens that belong to no place are left out."""
        grid = _to_grid(activations, self.prefix)
        if grid is None:
            raise ValueError(f"activations of {tuple(activations.shape)} have no places")
        return grid


def find_cut(forms: Sequence[InferenceForm], prefix: int, size: int) -> Cut:
    """Return the last cut of a network whose places all bear on its features.

    Args:
        forms: the network as it predicts, in parts that run in turn, most often one.
        prefix: how many tokens stand before those of places.
        size: side of its input in px.
    """
    noise = torch.randn(PROBE_SIZES, 3, size, size, generator=torch.Generator().manual_seed(0))
    bodies, values = [form.body for form in forms], [forms[0].prepare(noise)]
    with torch.no_grad():
        for body in bodies:
            values.append(body(values[-1]))
        for trunk, tail, activations in _list_cuts(bodies, values):
            grid = _to_grid(activations, prefix)
            if len(activations) != PROBE_SIZES or grid is None or grid[0, 0].numel() == 1:
                continue
            cut = Cut(trunk, tail, TOKENS if activations.ndim == 3 else MAP, prefix)
            if _is_mean(grid, values[-1]):
                return cut._replace(is_mean=True)
            if _reach(cut, activations) > 1:
                return cut
    return Cut(nn.Identity(), _join(bodies), INPUT)


def differentiable(tail: nn.Module) -> nn.Module:
    """Return a float32 copy of a part, to differentiate from its input."""
    own = copy.deepcopy(tail).float().requires_grad_(False)
    for module in own.modules():
        if getattr(module, "inplace", False):
            vars(module)["inplace"] = False
    return own


def _is_mean(grid: torch.Tensor, features: torch.Tensor) -> bool:
    if grid.shape[:2] != features.shape:
        return False
    bound = MEAN_BOUND * torch.finfo(features.dtype).eps * features.float().abs().max()
    return bool((grid.float().mean((2, 3)) - features.float()).abs().max() <= bound)


def _reach(cut: Cut, activations: torch.Tensor) -> int:
    """Return how many places the features depend on: of a class token's last layers, none but its own."""
    values = activations.float().detach().requires_grad_()
    with torch.enable_grad():
        features = differentiable(cut.tail)(values)
        weights = torch.linspace(-1, 1, features.shape[1], device=features.device).square()
        (gradient,) = torch.autograd.grad((features * weights).sum(), values)
    return int((cut.to_grid(gradient)[0] != 0).any(0).sum())


def _to_grid(values: torch.Tensor, prefix: int) -> torch.Tensor | None:
    """Return (B, C, side, side) of (B, C, side, side), (B, side, side, C) or (B, prefix + side ** 2, C)."""
    shape = values.shape
    if len(shape) == 4 and shape[2] == shape[3]:
        return values
    if len(shape) == 4 and shape[1] == shape[2]:
        return values.permute(0, 3, 1, 2)
    if len(shape) != 3 or shape[1] <= prefix:
        return None
    side = math.isqrt(shape[1] - prefix)
    if side**2 != shape[1] - prefix:
        return None
    return values[:, prefix:].transpose(1, 2).unflatten(2, (side, side))


Parts = tuple[nn.Module, nn.Module, torch.Tensor]  # trunk, tail, the activations between them


def _list_cuts(bodies: Sequence[nn.Module], values: Sequence[torch.Tensor]) -> Iterator[Parts]:
    """Yield the cuts within the parts of a network and between them, the last one first.

    Args:
        bodies: the parts.
        values: what goes into each of them.
    """
    for place in reversed(range(len(bodies))):
        body, inputs = bodies[place], values[place]
        cut = _cut_graph if isinstance(body, fx.GraphModule) else _cut_chain
        for trunk, tail, activations in cut(body, inputs):
            yield _join([*bodies[:place], trunk]), _join([tail, *bodies[place + 1 :]]), activations
        if place:
            yield _join(bodies[:place]), _join(bodies[place:]), inputs


def _join(parts: Sequence[nn.Module]) -> nn.Module:
    return parts[0] if len(parts) == 1 else nn.Sequential(*parts)


def _cut_chain(body: nn.Module, inputs: torch.Tensor) -> Iterator[Parts]:
    """Yield the cuts between the modules that a part runs in turn, the last one first."""
    chain, values = list(_unroll(body)), [inputs]
    for module in chain[:-1]:
        values.append(module(values[-1]))
    for place in range(len(chain) - 1, 0, -1):
        yield _join(chain[:place]), _join(chain[place:]), values[place]


def _unroll(module: nn.Module) -> Iterator[nn.Module]:
    if type(module) is nn.Sequential:
        for child in module:
            yield from _unroll(child)
    else:
        yield module


class _Recorder(fx.Interpreter):
    """Runs a traced network and keeps what some of its nodes give."""

    def __init__(self, body: fx.GraphModule, wanted: set[fx.Node]):
        super().__init__(body)
        self.wanted = wanted
        self.values: dict[fx.Node, torch.Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n in self.wanted and isinstance(value, torch.Tensor):
            self.values[n] = value
        return value


def _cut_graph(body: nn.Module, inputs: torch.Tensor) -> Iterator[Parts]:
    """Yield the cuts of a traced part where all goes through one tensor, the last one first."""
    assert isinstance(body, fx.GraphModule)
    nodes = list(body.graph.nodes)
    narrow = _find_narrow(nodes)
    recorder = _Recorder(body, {nodes[place] for place in narrow})
    recorder.run(inputs)
    for place in reversed(narrow):
        if nodes[place] in recorder.values:
            trunk, tail = _part_of(body, nodes, 0, place), _part_of(body, nodes, place, None)
            yield trunk, tail, recorder.values[nodes[place]]


def _find_narrow(nodes: list[fx.Node]) -> list[int]:
    """Return the places of the nodes behind which nothing of before them is used, but for constants."""
    order = {node: place for place, node in enumerate(nodes)}
    narrow, needed = [], 0
    for place, node in enumerate(nodes):
        if node.op in ("get_attr", "output"):
            continue
        if needed <= place and node.op != "placeholder":
            narrow.append(place)
        needed = max([needed, *(order[user] for user in node.users)])
    return narrow


def _part_of(body: fx.GraphModule, nodes: list[fx.Node], start: int, end: int | None) -> fx.GraphModule:
    """Return what a traced network does behind node `start`, or up to node `end`, as a module of its own."""
    graph = fx.Graph()
    own = nodes[: end + 1] if end is not None else nodes[start + 1 :]
    values: dict[fx.Node, fx.Node] = {}
    if end is None:
        values[nodes[start]] = graph.placeholder("activations")
        before = (node for node in nodes[:start] if node.op == "get_attr")
        own = [*(node for node in before if not set(own).isdisjoint(node.users)), *own]
    for node in own:
        values[node] = graph.node_copy(node, values.__getitem__)
    if end is not None:
        graph.output(values[own[-1]])
    return fx.GraphModule(body, graph)
