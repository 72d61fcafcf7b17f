from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from flawmap import load
from flawmap.errors import BundleError
from flawmap.runtime import bundle
from flawmap.runtime.graph_check import check_interface, check_text
from flawmap.runtime.preprocess import Preprocessing
from flawmap.runtime.search import integers
from small_bundle import save_small_bundle


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, int]:
    """The text of a graph with branches in branches, and the size of its weights."""
    arrays = bundle.load(save_small_bundle(tmp_path_factory.mktemp("saved") / "part")).arrays
    return arrays["graph.xml"].tobytes().decode(), arrays["graph.weights"].nbytes


def test_what_openvino_saves_is_taken(saved: tuple[str, int]) -> None:
    text, size = saved
    assert text.count("<then_body>") > 1
    check_text(text.encode(), size)


def replaced(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # Operations that are not flawmap's.
        (replaced('"ReLU" version="opset1"', '"ReLU" version="extension"'), "ReLU of extension"),
        (replaced('"ReLU" version="opset1"', '"ReLU" version="opset99"'), "ReLU of opset99"),
        (replaced('type="ReLU"', 'type="MyReLU"'), "MyReLU of opset1"),
        (replaced('type="ReLU"', 'type="ReadValue"'), "ReadValue"),
        (replaced('type="ReLU"', 'type="TensorIterator"'), "TensorIterator"),
        (replaced('type="Convolution"', 'type="RandomUniform"'), "RandomUniform"),
        # The same in a branch.
        (lambda text: text[::-1].replace("ddA"[::1], "mmA", 1)[::-1], "Amm"),
        # Other texts, and what would be read as another one by another reader.
        (lambda text: "", "is no XML"),
        (lambda text: text[: len(text) // 2], "is no XML"),
        (lambda text: text.replace("?>", ' encoding="utf-7"?>', 1), "is no XML"),
        (replaced("<net", '<!DOCTYPE net [<!ENTITY a SYSTEM "file.bin">]><net'), "is no XML"),
        (replaced("<net name", '<net xmlns="urn:other" name'), "is a <"),
        (replaced("<layers>", "<layers><custom/>"), "<custom>"),
        (replaced("<edges>", "<layers></layers><edges>"), "consists of"),
        (replaced("<data ", '<data source="other.bin"/><data '), "holds an operation"),
        (replaced("<data ", '<blobs file="other.bin"/><data '), "holds an operation"),
        # Edges.
        (replaced('from-layer="0"', 'from-layer="9999"'), "edge from 9999"),
        (replaced('from-layer="0"', 'from-layer="-1"'), "from-layer='-1'"),
        (replaced('to-port="0"', 'to-port="7"'), "has an edge"),
        (replaced("<edges>", "<edges><edge/>"), "from-layer=''"),
        (replaced('<layer id="1"', '<layer id="0"'), "two operations 0"),
        # Constants.
        (replaced('offset="0"', 'offset="99999999"'), "constant of"),
        (replaced('offset="0"', 'offset="18446744073709551615"'), "offset="),
        (
            replaced(
                'element_type="f32" shape="8, 3, 8, 8"', 'element_type="f32" shape="9, 3, 8, 8"'
            ),
            "constant of f32",
        ),
        (
            replaced('element_type="f32" shape="8, 3, 8, 8"', 'element_type="string" shape="1"'),
            "type string",
        ),
    ],
)
def test_what_flawmap_does_not_write_is_refused(
    saved: tuple[str, int], change: Callable[[str], str], message: str
) -> None:
    text, size = saved
    with pytest.raises(BundleError, match=f"its graph .*{message}"):
        check_text(change(text).encode(), size)


def test_an_edge_backwards_is_refused(saved: tuple[str, int]) -> None:
    text, size = saved
    lines = text.splitlines(keepends=True)
    edges = [line for line in lines if 'to-layer="3"' in line]
    assert edges
    backwards = text.replace(edges[0], edges[0].replace('from-layer="', 'from-layer="4" a="'))
    with pytest.raises(BundleError, match="has an edge from"):
        check_text(backwards.encode(), size)


def test_branches_within_branches_end(saved: tuple[str, int]) -> None:
    body = "<layers/><edges/>"
    for _ in range(40):
        branch = f"<then_body>{body}</then_body><else_body><layers/><edges/></else_body>"
        body = f'<layers><layer id="0" type="If" version="opset8">{branch}</layer></layers><edges/>'
    with pytest.raises(BundleError, match="too many branches"):
        check_text(f'<?xml version="1.0"?><net>{body}</net>'.encode(), 0)


def graph(side: int, score: list[int], tiles: int = 1) -> openvino.Model:
    """A graph from an image to a score and a map of one channel, by way of some copies."""
    image = ops.parameter([1, 3, side, side], np.float32)
    copies = ops.tile(image, integers(tiles, 1, 1, 1))
    least = ops.reduce_min(copies, integers(0, 1), False)
    largest = ops.reduce_max(copies, integers(0, 1, 2, 3), False)
    outputs = ops.reshape(largest, integers(*score), False), ops.unsqueeze(least, integers(0))
    return openvino.Model([ops.result(output) for output in outputs], [image])


def test_a_graph_gives_a_score_and_a_map_of_its_image() -> None:
    check_interface(graph(64, [1]), Preprocessing(64, 64))
    with pytest.raises(BundleError, match=r"takes .* and gives .*, which is no score"):
        check_interface(graph(64, [1]), Preprocessing(64, 96))
    with pytest.raises(BundleError, match="no score and map"):
        check_interface(graph(64, [1, 1]), Preprocessing(64, 64))


def test_a_graph_that_takes_more_memory_than_there_is_is_not_compiled() -> None:
    with pytest.raises(BundleError, match=r"takes 49152\.0 GB, more than is free"):
        check_interface(graph(64, [1], tiles=10**9), Preprocessing(64, 64))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"ReLU"', b'"Rela"', r"its graph holds an operation Rela of opset1"),
        (
            b'strides="8, 8"',
            b'strides="0, 0"',
            r"OpenVINO 20\S+ refuses the graph that OpenVINO "
            r"2026\.0 wrote \(.+\); install the versions in it, or fit again",
        ),
    ],
)
def test_a_refusal_is_one_line_with_the_files_name(
    tmp_path: Path, old: bytes, new: bytes, message: str
) -> None:
    file = save_small_bundle(tmp_path / "part.flawmap")
    manifest, arrays, _ = bundle.load(file)
    text = arrays["graph.xml"].tobytes()
    assert old in text
    changed = np.frombuffer(text.replace(old, new, 1), np.uint8)
    bundle.save(file, manifest, arrays | {"graph.xml": changed})
    with pytest.raises(BundleError, match=rf"^\S+part\.flawmap: {message}") as caught:
        load(file)
    assert "\n" not in str(caught.value)
