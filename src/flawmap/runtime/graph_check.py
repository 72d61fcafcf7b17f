"""What a saved graph may be, checked on its text and its sizes before OpenVINO works with it.

OpenVINO trusts what it reads: an edge to nowhere or a constant behind the weights' end can end the
process. So the text is read here first, and all that flawmap never writes is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import openvino

from flawmap.errors import BundleError
from flawmap.runtime.graph_operations import is_known
from flawmap.runtime.preprocess import Preprocessing
from flawmap.support.system import available_memory

_START = b'<?xml version="1.0"?>'
"""First bytes of each graph that OpenVINO saves; anything else may be a format that reads files."""

_BITS = {
    **dict.fromkeys(("u1",), 1),
    **dict.fromkeys(("u2",), 2),
    **dict.fromkeys(("i4", "u4", "nf4", "f4e2m1"), 4),
    **dict.fromkeys(("boolean", "i8", "u8", "f8e4m3", "f8e5m2", "f8e8m0"), 8),
    **dict.fromkeys(("f16", "bf16", "i16", "u16"), 16),
    **dict.fromkeys(("f32", "i32", "u32"), 32),
    **dict.fromkeys(("f64", "i64", "u64"), 64),
}
"""Bits of one element by the name of its type."""

_BODIES = ("then_body", "else_body")
_LAYER_PARTS = {"data", "input", "output", "rt_info", "then_port_map", "else_port_map", *_BODIES}
_MOST_NESTED = 16
_NUMBER = re.compile(r"\d{1,18}")


def check_text(xml: bytes, weights_size: int) -> None:
    """Refuse the text of a graph unless it is one that flawmap may have written.

    Its operations must be known ones, each edge must lead from an operation to a later one, each
    input must have one, and each constant must lie within the weights and have the size of its
    shape.

    Args:
        xml: as OpenVINO saves it.
        weights_size: of the weights beside it, in bytes.

    Raises:
        BundleError: it is another text.
    """
    if not xml.startswith(_START) or b"<!" in xml:
        raise _refusal("is no XML as OpenVINO saves it")
    try:
        xml.decode("utf-8")
        net = ElementTree.fromstring(xml)
    except (UnicodeDecodeError, ElementTree.ParseError) as error:
        raise _refusal(f"is no XML ({error})") from error
    if net.tag != "net":
        raise _refusal(f"is a <{net.tag}>")
    _check_net(net, weights_size, 0)


def check_interface(model: openvino.Model, preprocessing: Preprocessing) -> None:
    """Refuse a graph that takes or gives something else than one image's score and map.

    Args:
        model: the graph.
        preprocessing: how images are made ready for it.

    Raises:
        BundleError: its shapes or types are others, or it takes more memory than there is.
    """
    side = preprocessing.height, preprocessing.width
    inputs = [_describe(value) for value in model.inputs]
    outputs = [_describe(value) for value in model.outputs]
    expected = [(1, 3, *side)], [(1,), (1, *preprocessing.map_size)]
    if ([shape for shape, _ in inputs], [shape for shape, _ in outputs]) != expected:
        raise _refusal(f"takes {inputs} and gives {outputs}, which is no score and map of an image")
    if {kind for _, kind in (*inputs, *outputs)} != {"f32"}:
        raise _refusal("takes or gives something else than numbers in single precision")
    largest = max(map(_output_bytes, model.get_ops()))
    if largest > available_memory():
        raise _refusal(f"takes {largest / 1e9:.1f} GB, more than is free")


def _check_net(net: Element, weights_size: int, depth: int) -> None:
    """The text of a graph, or of the branch of a graph."""
    if depth > _MOST_NESTED:
        raise _refusal("has too many branches within branches")
    parts = [part.tag for part in net if part.tag != "rt_info"]
    if sorted(parts) != ["edges", "layers"]:
        raise _refusal(f"consists of {parts}")
    free: dict[str, set[str]] = {}
    places: dict[str, int] = {}
    given: dict[str, set[str]] = {}
    for place, layer in enumerate(_each(net.find("layers"), "layer")):
        number = str(_natural(layer, "id"))
        if number in places:
            raise _refusal(f"has two operations {number}")
        places[number] = place
        free[number] = _ports(layer, "input")
        given[number] = _ports(layer, "output")
        _check_layer(layer, weights_size, depth)
    _check_edges(_each(net.find("edges"), "edge"), places, free, given)


def _check_layer(layer: Element, weights_size: int, depth: int) -> None:
    operation, opset = layer.get("type", "?"), layer.get("version", "?")
    if not is_known(operation, opset):
        raise _refusal(f"holds an operation {operation} of {opset}, which flawmap does not write")
    tags = [part.tag for part in layer]
    if len(set(tags)) < len(tags) or not set(tags) <= _LAYER_PARTS:
        raise _refusal(f"holds an operation {operation} of {tags}")
    bodies = [part for part in layer if part.tag in _BODIES]
    if len(bodies) != (2 if operation == "If" else 0):
        raise _refusal(f"holds an operation {operation} of {len(bodies)} branches")
    for body in bodies:
        _check_net(body, weights_size, depth + 1)
    if operation == "Const":
        _check_constant(layer.find("data"), weights_size)


def _check_constant(data: Element | None, weights_size: int) -> None:
    """That a constant's bytes are among the weights, and as many as its shape takes."""
    if data is None:
        raise _refusal("holds a constant without data")
    offset, size = _natural(data, "offset"), _natural(data, "size")
    kind, shape = data.get("element_type", "?"), data.get("shape", "")
    if kind not in _BITS:
        raise _refusal(f"holds a constant of type {kind}")
    sides = [side.strip() for side in shape.split(",")] if shape.strip() else []
    if not all(map(_NUMBER.fullmatch, sides)):
        raise _refusal(f"holds a constant of shape {shape}")
    needed = -(-math.prod(map(int, sides)) * _BITS[kind] // 8)
    # OpenVINO saves a byte for a constant that is empty.
    if size not in (needed, max(needed, 1)) or offset + size > weights_size:
        raise _refusal(
            f"holds a constant of {kind}, shape {shape or '()'}, in {size} bytes at {offset} of "
            f"{weights_size}"
        )


def _check_edges(
    edges: Iterable[Element],
    places: dict[str, int],
    free: dict[str, set[str]],
    given: dict[str, set[str]],
) -> None:
    """That each edge leads to a later operation, and that each input has one edge."""
    for edge in edges:
        source, source_port, target, target_port = (
            str(_natural(edge, name)) for name in ("from-layer", "from-port", "to-layer", "to-port")
        )
        if source_port not in given.get(source, ()) or target_port not in free.get(target, ()):
            raise _refusal(f"has an edge from {source}:{source_port} to {target}:{target_port}")
        if places[source] >= places[target]:
            raise _refusal(f"has an edge from operation {source} back to {target}")
        free[target].remove(target_port)
    for number, ports in free.items():
        if ports:
            raise _refusal(f"has an operation {number} without the inputs {sorted(ports)}")


def _ports(layer: Element, tag: str) -> set[str]:
    ports = layer.find(tag)
    return {str(_natural(port, "id")) for port in (() if ports is None else _each(ports, "port"))}


def _each(parent: Element | None, tag: str) -> Iterator[Element]:
    for child in () if parent is None else parent:
        if child.tag != tag:
            raise _refusal(f"has a <{child.tag}> where there should be a <{tag}>")
        yield child


def _natural(element: Element, name: str) -> int:
    text = element.get(name, "")
    if not _NUMBER.fullmatch(text):
        raise _refusal(f"has a <{element.tag}> with {name}={text!r}")
    return int(text)


def _describe(value: openvino.Output) -> tuple[tuple[int, ...], str]:
    """Shape and type of an input or output; -1 stands for a length that is not fixed."""
    lengths = value.get_partial_shape()
    shape = tuple(side.get_length() if side.is_static else -1 for side in lengths)
    return shape, value.get_element_type().get_type_name()


def _output_bytes(operation: openvino.Node) -> int:
    """The largest output of an operation in bytes, as far as its shape is fixed."""
    shapes = [value for value in operation.outputs() if value.get_partial_shape().is_static]
    return max((math.prod(value.shape) * value.element_type.size for value in shapes), default=0)


def _refusal(problem: str) -> BundleError:
    return BundleError(f"its graph {problem}; fit again")
