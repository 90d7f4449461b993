"""fp16 and int8 graphs: faithful, in the precision that was asked for, and refused where the input is unfit."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeclip.base.errors import EdgeclipError, FormatError
from edgeclip.device.facts import target_here
from edgeclip.exporting.fp16 import convert_fp16, rounds_halves
from edgeclip.exporting.graphs import constants, read_graph, weighted
from edgeclip.exporting.halfcheck import run_in_half
from edgeclip.exporting.int8 import (
    ARM,
    METHODS,
    RECIPES,
    TENSORRT,
    X86,
    X86_VNNI,
    Calibrated,
    first_choices,
    quantize_int8,
    recipe_for,
    second_choices,
)
from edgeclip.exporting.ranges import magnitudes
from edgeclip.exporting.smoothing import find_folds, smoothed
from edgeclip.runtime.engines.ort import Onnxruntime
from edgeclip.runtime.target import Target


def run(file, pixels, precision="fp32"):
    return Onnxruntime().open(file, precision=precision).run(pixels)


def run_int8(file, pixels):
    """By the graph alone: the int8 kernels of the machine that tests may be another target's."""
    return Onnxruntime().open(file, precision="int8", as_written=True).run(pixels)


def cosine(a, b):
    return float((a.astype(np.float64) * b).sum(axis=1).mean())


@pytest.fixture(scope="module")
def calibrated(vit, conv):
    """Both towers, ready for any recipe."""
    return {name: Calibrated(tower.file, tower.pixels) for name, tower in (("vit", vit), ("conv", conv))}


@pytest.mark.parametrize("target", RECIPES)
@pytest.mark.parametrize("tower", ["vit", "conv"])
def test_each_target_has_its_int8(tower, target, calibrated, request, tmp_path):
    made, recipe = request.getfixturevalue(tower), RECIPES[target]
    calibrated[tower].write(tmp_path / "q.onnx", recipe)
    if recipe.fused and not rounds_halves():
        pytest.skip("this onnxruntime cuts off where it should round")
    assert cosine(run_int8(tmp_path / "q.onnx", made.pixels), run(made.file, made.pixels)) > 0.99
    graph = onnx.load(tmp_path / "q.onnx")
    values = {v.name: numpy_helper.to_array(v) for v in graph.graph.initializer}
    weights = [values[n.input[0]] for n in graph.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in values]
    assert sum(w.dtype == np.int8 and w.ndim >= 2 for w in weights) == len(weighted(read_graph(made.file)))
    for node in graph.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in values and values[node.input[0]].ndim >= 2:
            axis = next(helper.get_attribute_value(a) for a in node.attribute if a.name == "axis")
            weight, scale = values[node.input[0]], values[node.input[1]]
            assert scale.shape == (weight.shape[axis],), "one scale for each output channel"
    largest = max(int(np.abs(w.astype(int)).max()) for w in weights if w.dtype == np.int8)
    assert largest <= 64 if recipe.reduce_range else largest > 64
    zeros = [values[n.input[2]] for n in graph.graph.node if n.op_type == "QuantizeLinear"]
    assert {z.dtype.name for z in zeros} == {recipe.activations}
    if recipe.symmetric:
        assert all((z == 0).all() for z in zeros)
    assert any(w.dtype == np.int32 for w in weights) == (not recipe.fused and tower == "conv")


def test_attentions_own_products_stay_float(vit, calibrated, tmp_path):
    calibrated["vit"].write(tmp_path / "q.onnx", X86)
    graph = onnx.load(tmp_path / "q.onnx")
    made_by = {name: node for node in graph.graph.node for name in node.output}
    products = [n for n in graph.graph.node if n.op_type == "MatMul"]
    float_ones = [n for n in products if made_by[n.input[1]].op_type != "DequantizeLinear"]
    assert len(float_ones) == 4  # two in each of two blocks
    assert len(products) > 4


@pytest.mark.parametrize("method", METHODS)
def test_ranges_by_every_method_the_same_each_time(method, vit, calibrated, tmp_path):
    recipe = replace(X86_VNNI, method=method)
    calibrated["vit"].write(tmp_path / "a.onnx", recipe)
    Calibrated(vit.file, vit.pixels).write(tmp_path / "b.onnx", recipe)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert cosine(run_int8(tmp_path / "a.onnx", vit.pixels), run(vit.file, vit.pixels)) > 0.99


def outlier_tower(graph, channel=3, factor=200.0):
    """The same function, its first LayerNorm's output lopsided: the hard case that smoothing is for."""
    changed = onnx.ModelProto()
    changed.CopyFrom(graph)
    fold = find_folds(changed)[0]
    values = {v.name: v for v in changed.graph.initializer}
    places = [(fold.norm, place, factor) for place in range(1, len(fold.norm.input))]
    for node, place, by in [*places, *((product, 1, 1 / factor) for product in fold.products)]:
        array = numpy_helper.to_array(values[node.input[place]]).copy()
        array[channel] *= by
        node.input[place] = f"{node.name}.{place}"  # equal weights of other nodes go by the same name
        changed.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), node.input[place]))
    return changed


def test_smoothing_changes_nothing_but_what_int8_loses(vit, tmp_path):
    graph = outlier_tower(read_graph(vit.file))
    onnx.save(graph, tmp_path / "outlier.onnx")
    expected = run(tmp_path / "outlier.onnx", vit.pixels)
    assert np.abs(expected - run(vit.file, vit.pixels)).max() < 1e-4
    onnx.save(smoothed(graph, vit.pixels, 0.5), tmp_path / "smoothed.onnx")
    assert np.abs(run(tmp_path / "smoothed.onnx", vit.pixels) - expected).max() < 1e-4
    calibrated = Calibrated(tmp_path / "outlier.onnx", vit.pixels)
    loss = {}
    for smoothing in (None, 0.5):
        calibrated.write(tmp_path / "q.onnx", replace(X86_VNNI, smoothing=smoothing))
        loss[smoothing] = 1 - cosine(run_int8(tmp_path / "q.onnx", vit.pixels), expected)
    assert loss[0.5] < 0.2 * loss[None], loss


def test_a_tower_without_layer_norms_cannot_be_smoothed(conv, calibrated, tmp_path):
    assert calibrated["conv"].graph(0.5) is None
    with pytest.raises(EdgeclipError, match="leave smoothing out"):
        calibrated["conv"].write(tmp_path / "q.onnx", replace(X86, smoothing=0.5))


def test_blocks_kept_float_are_float(vit, calibrated, tmp_path):
    blocks = calibrated["vit"].blocks
    calibrated["vit"].write(tmp_path / "all.onnx", replace(X86, kept_float=tuple(blocks)))
    assert np.array_equal(run(tmp_path / "all.onnx", vit.pixels), run(vit.file, vit.pixels))
    calibrated["vit"].write(tmp_path / "one.onnx", replace(X86, kept_float=(blocks[1],)))
    known = constants(onnx.load(tmp_path / "one.onnx"))
    left = [n for n in onnx.load(tmp_path / "one.onnx").graph.node if n.op_type == "MatMul" and n.input[1] in known]
    assert {n.name.partition(".attn")[0].partition(".mlp")[0] for n in left} == {blocks[1]}


def test_magnitudes_are_those_of_the_values(vit):
    graph = read_graph(vit.file)
    (size,) = magnitudes(graph, ["image_embeds"], vit.pixels).values()
    assert size[0] == pytest.approx(np.abs(run(vit.file, vit.pixels)).max(), rel=1e-5)
    (each,) = magnitudes(graph, ["image_embeds"], vit.pixels, per_channel=True).values()
    assert np.allclose(each, np.abs(run(vit.file, vit.pixels)).max(axis=0), rtol=1e-4)


def loud_tower(graph, factor):
    """The same function, the values between the two layers of an MLP ``factor`` times as large."""
    changed = onnx.ModelProto()
    changed.CopyFrom(graph)
    values = {v.name: v for v in changed.graph.initializer}
    for product, scale in (("visual/MatMul", factor),):
        node = next(n for n in changed.graph.node if n.name == product)
        array = numpy_helper.to_array(values[node.input[1]]) * scale
        values[node.input[1]].CopyFrom(numpy_helper.from_array(array.astype(np.float32), node.input[1]))
    return changed  # the closing normalisation takes the factor out again


@pytest.mark.parametrize("factor", [1.0, 1e5])
def test_fp16_keeps_what_overflows_in_fp32(vit, factor, tmp_path):
    onnx.save(loud_tower(read_graph(vit.file), factor), tmp_path / "loud.onnx")
    told = convert_fp16(tmp_path / "loud.onnx", tmp_path / "half.onnx", vit.pixels)
    assert bool(told["kept_fp32"]) == (factor > 1), told
    assert cosine(run(tmp_path / "half.onnx", vit.pixels, "fp16"), run(vit.file, vit.pixels)) > 0.9999
    halves = [v for v in onnx.load(tmp_path / "half.onnx").graph.initializer if v.data_type == TensorProto.FLOAT16]
    assert len(halves) > 10


def test_what_is_kept_is_handed_on_in_fp32(vit, tmp_path):
    """Two neighbours kept in fp32 with a cast to half between them would lose what they were kept for."""
    onnx.save(loud_tower(read_graph(vit.file), 1e5), tmp_path / "loud.onnx")

    def projection(pixels):
        convert_fp16(tmp_path / "loud.onnx", tmp_path / "half.onnx", pixels)
        graph = onnx.load(tmp_path / "half.onnx").graph
        node = next(n for n in graph.node if n.name == "visual/MatMul")
        return {n.op_type for n in graph.node if node.output[0] in n.input}

    assert projection(vit.pixels) == {"ReduceL2", "Div"}
    assert projection(None) == {"Cast"}, "without pixels nobody knows"


def half_cosine(file, source, pixels):
    return cosine(run_in_half(file, pixels), run(source, pixels))


@pytest.mark.parametrize("kind", ["vit", "conv"])
def test_true_half_precision_is_near_where_nothing_overflows(kind, request, tmp_path):
    tower = request.getfixturevalue(kind)
    convert_fp16(tower.file, tmp_path / "half.onnx", tower.pixels)
    found = half_cosine(tmp_path / "half.onnx", tower.file, tower.pixels[:2])
    assert 0.9999 < found < 1, "near, and not fp32 in disguise"
    assert half_cosine(tower.file, tower.file, tower.pixels[:2]) > 0.9999999


def test_an_overflow_that_a_cpu_hides_is_seen(vit, tmp_path):
    """Without pixels nobody knows of it, and the engine says all is well."""
    onnx.save(loud_tower(read_graph(vit.file), 1e5), tmp_path / "loud.onnx")
    convert_fp16(tmp_path / "loud.onnx", tmp_path / "half.onnx")
    assert cosine(run(tmp_path / "half.onnx", vit.pixels, "fp16"), run(vit.file, vit.pixels)) > 0.9999
    assert not np.isfinite(run_in_half(tmp_path / "half.onnx", vit.pixels[:2])).all()
    convert_fp16(tmp_path / "loud.onnx", tmp_path / "half.onnx", vit.pixels)
    assert half_cosine(tmp_path / "half.onnx", vit.file, vit.pixels[:2]) > 0.9999


def test_ranges_are_those_of_every_calibration_image(vit, tmp_path):
    loud = vit.pixels[:40].copy()
    loud[-1] *= 1e7
    assert not convert_fp16(vit.file, tmp_path / "half.onnx", loud[:-1])["kept_fp32"]
    assert convert_fp16(vit.file, tmp_path / "half.onnx", loud)["kept_fp32"]


def test_weights_beyond_half_precision_stay_float(vit, tmp_path):
    onnx.save(loud_tower(read_graph(vit.file), 1e8), tmp_path / "huge.onnx")
    told = convert_fp16(tmp_path / "huge.onnx", tmp_path / "half.onnx")
    assert told["kept_fp32"] == {"visual/MatMul": "a weight is beyond half precision"}
    assert cosine(run(tmp_path / "half.onnx", vit.pixels, "fp16"), run(vit.file, vit.pixels)) > 0.9999


def test_the_recipe_follows_the_instruction_set():
    def target(*features, engine="onnxruntime"):
        here = target_here()
        runtime = here.runtime.model_copy(update={"name": engine})
        return Target(
            device=here.device.model_copy(update={"features": features}), runtime=runtime, precisions=["fp32"]
        )

    assert recipe_for(target("avx2")) is X86
    assert recipe_for(target("avx512f", "avx512_vnni")) is X86_VNNI
    assert recipe_for(target("asimd", "asimddp")) is ARM
    assert recipe_for(target("avx512f", "amx_int8")) is X86_VNNI
    assert recipe_for(target("avx2", "avx_vnni")) is X86_VNNI
    assert all(recipe_for(target(feature)) is ARM for feature in ("asimd", "asimddp", "neon", "i8mm"))
    assert recipe_for(target("asimd", "asimddp", engine="tensorrt")) is TENSORRT
    assert recipe_for(target("avx2", engine="tensorrt-rtx")) is TENSORRT


def test_a_recipe_says_enough_to_do_it_again():
    assert X86.describe() == {
        "recipe": "x86",
        "activations": "uint8",
        "weights": "int8, symmetric, per channel",
        "symmetric_activations": False,
        "rest": "fp32",
        "reduce_range": True,
        "ranges": "min-max",
        "smoothing": None,
        "kept_float": [
            "activation x activation products, norms, softmax, gelu, residual adds, "
            "convolutions in groups but not of one channel to one"
        ],
    }
    rich = replace(ARM, method="percentile", smoothing=0.5, kept_float=("blocks.1", "blocks.0"))
    told = rich.describe()
    assert (told["ranges"], told["smoothing"], told["kept_float"][1:]) == (
        "percentile 99.99",
        0.5,
        ["blocks.1", "blocks.0"],
    )
    assert rich.title == "int8 arm percentile smoothed 2 block(s) float"
    assert X86.title == "int8 x86"


def test_the_cheap_ways_come_first(calibrated):
    assert first_choices(X86, calibrated["vit"]) == [X86, replace(X86, smoothing=0.5)]
    assert first_choices(X86, calibrated["conv"]) == [X86]
    assert second_choices(X86, calibrated["conv"]) == [replace(X86, method=m) for m in ("percentile", "entropy")]
    assert len(second_choices(X86, calibrated["vit"])) == 4


def test_one_call_quantises_by_a_recipe(vit, calibrated, tmp_path):
    quantize_int8(vit.file, tmp_path / "a.onnx", vit.pixels, ARM)
    calibrated["vit"].write(tmp_path / "b.onnx", ARM)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def unknown_operator(graph):
    graph.graph.node[0].op_type = "Quantum"


def another_input(graph):
    graph.graph.input[0].name = graph.graph.node[0].input[0] = "x"


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [(unknown_operator, "Quantum"), (another_input, "not an image tower of ours"), (None, "export it again")],
)
@pytest.mark.parametrize("convert", [convert_fp16, lambda source, target: Calibrated(source, None)])
def test_what_is_no_graph_of_ours_is_refused(damage, complaint, convert, tmp_path):
    x = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, [1])
    y = helper.make_tensor_value_info("image_embeds", TensorProto.FLOAT, [1])
    graph = helper.make_model(helper.make_graph([helper.make_node("Abs", [x.name], [y.name])], "g", [x], [y]))
    if damage:
        damage(graph)
        onnx.save(graph, tmp_path / "x.onnx")
    else:
        (tmp_path / "x.onnx").write_bytes(graph.SerializeToString()[:-20])
    with pytest.raises(FormatError, match=complaint) as caught:
        convert(tmp_path / "x.onnx", tmp_path / "y.onnx")
    assert "\n" not in str(caught.value)


def test_tensorrt_wants_float_biases(conv, calibrated, tmp_path):
    calibrated["conv"].write(tmp_path / "q.onnx", TENSORRT)
    graph = onnx.load(tmp_path / "q.onnx")
    assert not any(v.data_type == TensorProto.INT32 for v in graph.graph.initializer)


def test_tensorrt_is_given_what_it_makes_one_kernel_of(conv, calibrated, tmp_path):
    """A convolution's answer is not rounded before the add behind it; what skips the block enters that as int8.

    https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-quantized-types.html, Q/DQ placement
    """
    calibrated["conv"].write(tmp_path / "q.onnx", TENSORRT)
    graph = onnx.load(tmp_path / "q.onnx").graph
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    readers = {(made_by.get(name), node.op_type) for node in graph.node for name in node.input}
    assert ("Conv", "QuantizeLinear") not in readers
    adds = [{made_by[name] for name in node.input} for node in graph.node if node.op_type == "Add"]
    assert {"Conv", "DequantizeLinear"} in adds


@pytest.mark.parametrize("tower", ["vit", "conv"])
def test_tensorrts_int8_computes_the_rest_in_half(tower, calibrated, request, tmp_path):
    made = request.getfixturevalue(tower)
    calibrated[tower].write(tmp_path / "q.onnx", TENSORRT)
    graph = onnx.load(tmp_path / "q.onnx").graph
    single = [v.name for v in graph.initializer if v.data_type == TensorProto.FLOAT]
    assert len(single) == 1, "the closing normalisation's guard"
    assert half_cosine(tmp_path / "q.onnx", made.file, made.pixels[:2]) > 0.99


def test_int8_keeps_what_overflows_half_in_fp32(vit, tmp_path):
    onnx.save(loud_tower(read_graph(vit.file), 1e8), tmp_path / "loud.onnx")
    quantize_int8(tmp_path / "loud.onnx", tmp_path / "q.onnx", vit.pixels, TENSORRT)
    assert cosine(run_int8(tmp_path / "q.onnx", vit.pixels), run(vit.file, vit.pixels)) > 0.99
    assert half_cosine(tmp_path / "q.onnx", vit.file, vit.pixels[:2]) > 0.99


def test_a_channel_of_hardly_any_weight_keeps_a_scale_in_half(conv, tmp_path):
    """TensorRT refuses a scale of 0, and the smallest half is 6e-8."""
    graph = read_graph(conv.file)
    first = next(node for node in weighted(graph) if node.op_type == "Conv")
    weight = next(value for value in graph.graph.initializer if value.name == first.input[1])
    faint = numpy_helper.to_array(weight).copy()
    faint[0] *= 1e-9
    weight.CopyFrom(numpy_helper.from_array(faint, weight.name))
    onnx.save(graph, tmp_path / "faint.onnx")
    quantize_int8(tmp_path / "faint.onnx", tmp_path / "q.onnx", conv.pixels, TENSORRT)
    made = onnx.load(tmp_path / "q.onnx").graph
    scales = {node.input[1] for node in made.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")}
    assert all((numpy_helper.to_array(value) > 0).all() for value in made.initializer if value.name in scales)


def test_grouped_convolutions_that_have_no_kernel_stay_float_on_a_cpu(conv, tmp_path):
    def quantised(recipe):
        quantize_int8(tmp_path / "grouped.onnx", tmp_path / "q.onnx", conv.pixels, recipe)
        made = onnx.load(tmp_path / "q.onnx").graph
        by = {name: node.op_type for node in made.node for name in node.output}
        return [by.get(n.input[1]) == "DequantizeLinear" for n in made.node if n.name in (odd.name, depthwise.name)]

    graph = read_graph(conv.file)
    values = {value.name: value for value in graph.graph.initializer}
    square = [n for n in weighted(graph) if n.op_type == "Conv" and len(set(values[n.input[1]].dims[:2])) == 1]
    odd, depthwise = square[:2]
    for node, groups in ((odd, 2), (depthwise, values[depthwise.input[1]].dims[0])):
        weight = values[node.input[1]]
        own = numpy_helper.to_array(weight)[:, : weight.dims[1] // groups]
        node.input[1] = f"{node.name}.grouped"
        graph.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(own), node.input[1]))
        next(one for one in node.attribute if one.name == "group").i = groups
    onnx.save(graph, tmp_path / "grouped.onnx")
    assert quantised(X86) == quantised(ARM) == [False, True]
    assert quantised(TENSORRT) == [True, True]
