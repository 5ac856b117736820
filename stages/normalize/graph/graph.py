"""The graph: nodes in an order of execution, and who reads whom."""

import copy
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property

from stages.normalize.graph.nodes import Node, Tensor, constant, constant_tensor


class Graph:
    """The only subgraph of a model; ``nodes`` are in an order of execution."""

    def __init__(
        self, nodes: list[Node], inputs: list[Tensor], outputs: list[Tensor]
    ) -> None:
        self.nodes, self.inputs, self.outputs = nodes, inputs, outputs

    def producer(self, tensor: Tensor | None) -> Node | None:
        """The node that computes a tensor."""
        for node in self.nodes:
            if tensor in node.outputs:
                return node
        return None

    def readers(self, tensor: Tensor) -> list[Node]:
        """The nodes that read a tensor."""
        return [node for node in self.nodes if tensor in node.inputs]

    def only_reader(self, tensor: Tensor) -> Node | None:
        """The node that alone reads a tensor, which is no output of the graph."""
        readers = self.readers(tensor)
        if len(readers) != 1 or tensor in self.outputs:
            return None
        return readers[0] if readers[0].inputs.count(tensor) == 1 else None

    def add(self, *nodes: Node, before: Node) -> None:
        """Put nodes in front of another one."""
        position = self.nodes.index(before)
        self.nodes[position:position] = nodes

    def replace(self, old: Tensor, new: Tensor) -> None:
        """Have everything that reads a tensor read another."""
        for node in self.nodes:
            node.inputs = [new if each is old else each for each in node.inputs]
        self.outputs = [new if each is old else each for each in self.outputs]

    def prune(self) -> int:
        """Drop nodes whose results nothing reads; returns how many."""
        wanted = set(self.outputs)
        kept = []
        for node in reversed(self.nodes):
            if wanted.intersection(node.outputs):
                wanted.update(each for each in node.inputs if each is not None)
                kept.append(node)
        dropped = len(self.nodes) - len(kept)
        self.nodes = kept[::-1]
        return dropped

    def copy(self) -> "Graph":
        """A graph that can be edited without changing this one.

        Constants are shared: passes replace them and never write into them.
        """
        tensors = {each for node in self.nodes for each in node.inputs if each}
        values = [each.value for each in tensors if each.value is not None]
        return copy.deepcopy(self, {id(value): value for value in values})

    @cached_property
    def _names(self) -> set[str]:
        return {tensor.name for node in self.nodes for tensor in node.outputs}

    def fresh(self, like: Tensor, suffix: str, shape: Iterable[int]) -> Tensor:
        """A new feature map named after another one."""
        name, number = f"{like.name}/{suffix}", 1
        while name in self._names:
            number += 1
            name = f"{like.name}/{suffix}_{number}"
        self._names.add(name)
        return Tensor(name, tuple(shape), like.type)

    def part(self, node: Node, channels: slice) -> Node:
        """A convolution like a node that computes some of its channels."""
        weights = node.weights[channels]
        shape = (*node.output.shape[:3], len(weights))
        output = self.fresh(node.output, "part", shape)
        inputs = list(node.inputs)
        inputs[1] = constant_tensor(f"{output.name}/weights", weights)
        if len(inputs) > 2 and inputs[2] is not None:
            bias = constant(node, 2)[channels]
            inputs[2] = constant_tensor(f"{output.name}/bias", bias)
        made = replace(node, inputs=inputs, outputs=[output], notes=list(node.notes))
        made.operator = copy.deepcopy(node.operator)
        return made
