"""The torch model as TensorBoard's graph: a node for each module, its parameters within, shapes on the edges.

Built from the modules themselves. SummaryWriter.add_graph traces the model instead, which shows torch's operations and
not our layers, and warns through torch.jit.trace.
"""

from __future__ import annotations

from typing import Any

from tensorboard.compat.proto.attr_value_pb2 import AttrValue
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.node_def_pb2 import NodeDef
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.versions_pb2 import VersionDef

from handgrad.compare.judge.names import layer_name
from handgrad.compare.run.lockstep import Lockstep


def graph(run: Lockstep) -> GraphDef:
    """x → every layer → J, as the batches of this run flow through them."""
    n, sizes = run.experiment.batch_size, run.experiment.sizes
    nodes = [_node("x", "input", [], (n, sizes[0])), _node("target", "input", [], None)]
    last, width = "x", sizes[0]
    for i, module in enumerate(run.sides.model):
        kind = type(module).__name__
        name = layer_name(i, module)
        inputs = [last]
        for key, parameter in module.named_parameters():
            nodes.append(_node(f"{_plain(name)}/{key}", "parameter", [], tuple(parameter.shape)))
            inputs.append(nodes[-1].name)
        width = getattr(module, "out_features", width)
        last = f"{_plain(name)}/{kind}"
        nodes.append(_node(last, kind, inputs, (n, width), module.extra_repr()))
    loss = type(run.sides.torch_loss).__name__
    nodes.append(_node("J", loss, [last, "target"], ()))
    return GraphDef(node=nodes, versions=VersionDef(producer=22))


def _plain(name: str) -> str:
    """A name as a node may have it: letters, digits, dots and dashes."""
    return name.replace(" · ", ".")


def _node(name: str, op: str, inputs: list[str], shape: tuple[int, ...] | None, settings: str = "") -> NodeDef:
    attributes: dict[str, Any] = {}
    if shape is not None:
        dims = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in shape])
        attributes["_output_shapes"] = AttrValue(list=AttrValue.ListValue(shape=[dims]))
    if settings:
        attributes["settings"] = AttrValue(s=settings.encode())
    return NodeDef(name=name, op=op, input=inputs, attr=attributes)
