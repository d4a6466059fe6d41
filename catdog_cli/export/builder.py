"""A graph of ONNX in the making: nodes and constants, each under a name of its own."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..runtime.onnx_packages import import_onnx

OPSET = 18  # the first with Resize(antialias)


class GraphBuilder:
    """Collects nodes and constants; whatever takes or gives a value of the graph has it as a name."""

    def __init__(self, *reserved: str) -> None:
        """Start an empty graph; `reserved` are the names that its inputs and outputs will have."""
        self.onnx = import_onnx()
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._names = set(reserved)
        self._part = ""

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Let the names of all that is added in the block begin with `name`/."""
        before, self._part = self._part, f"{name}/"
        try:
            yield
        finally:
            self._part = before

    def name(self, wanted: str) -> str:
        """Return a name that nothing else has yet."""
        wanted = f"{self._part}{wanted}"
        number, found = 1, wanted
        while found in self._names:
            number += 1
            found = f"{wanted}_{number}"
        self._names.add(found)
        return found

    def constant(self, value: Any, name: str = "constant") -> str:
        """Add a constant, an array or what numpy makes one of."""
        found = self.name(name)
        self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(value), found))
        return found

    def integers(self, *values: int) -> str:
        """Add a constant of whole numbers, int64 (n,)."""
        return self.constant(np.array(values, np.int64), "integers")

    def op(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node with one output; return its name."""
        return self.ops(kind, *inputs, name=name, count=1, **attributes)[0]

    def ops(self, kind: str, *inputs: str, count: int, name: str = "", **attributes: Any) -> list[str]:
        """Add a node with `count` outputs; return their names."""
        outputs = [self.name(name or kind.lower()) for _ in range(count)]
        node = self.onnx.helper.make_node(kind, inputs, outputs, name=outputs[0], **attributes)
        self.nodes.append(node)
        return outputs

    def rename(self, value: str, output: str) -> None:
        """Give a value the name of one of the graph's outputs, which was reserved."""
        self.nodes.append(self.onnx.helper.make_node("Identity", [value], [output], name=f"to_{output}"))

    def insert(self, graph: Any, inputs: Sequence[str]) -> list[str]:
        """Add a whole graph (GraphProto) that takes `inputs`; return the names of its outputs."""
        own = dict(zip((each.name for each in graph.input), inputs, strict=True))
        for tensor in graph.initializer:
            own[tensor.name] = self.name(tensor.name)
            kept = type(tensor)()
            kept.CopyFrom(tensor)
            kept.name = own[tensor.name]
            self.constants.append(kept)
        for node in graph.node:
            added = type(node)()
            added.CopyFrom(node)
            for place, value in enumerate(node.output):
                own[value] = self.name(value) if value else ""
                added.output[place] = own[value]
            for place, value in enumerate(node.input):
                added.input[place] = own[value] if value else ""
            added.name = self.name(node.name or node.op_type)
            self.nodes.append(added)
        return [own[each.name] for each in graph.output]

    def model(self, inputs: Sequence[Any], outputs: Sequence[Any], metadata: dict[str, str]) -> Any:
        """Return all that was added as a checked ModelProto.

        Args:
            inputs, outputs: what `onnx.helper.make_tensor_value_info` returns.
            metadata: texts that the file carries.
        """
        helper = self.onnx.helper
        graph = helper.make_graph(self.nodes, "catdog", inputs, outputs, self.constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, producer_name="catdog"
        )
        helper.set_model_props(model, metadata)
        self.onnx.checker.check_model(model)
        return model
