"""The kmodel parser on files that nncase has just written."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k210.kmodel import (
    ActivationTable,
    BatchNorm,
    Conv2d,
    DType,
    Kmodel,
    KmodelError,
    LayerRegisters,
    Location,
    Op,
    Pool,
    canonical,
    dense_strides,
    digest,
    kpu_map_bytes,
    kpu_row_layout,
    parse,
)

FAST = settings(deadline=2000, max_examples=150)


@dataclass(frozen=True)
class Compiled:
    data: bytes
    log: str


Compile = Callable[[str], tuple[bytes, str]]


@pytest.fixture(scope="module")
def residual(compile_small: Compile) -> Compiled:
    return Compiled(*compile_small("residual"))


@pytest.fixture(scope="module")
def dilated(compile_small: Compile) -> Compiled:
    return Compiled(*compile_small("dilated"))


@pytest.fixture(scope="module", params=["residual", "dilated"])
def either(request: pytest.FixtureRequest) -> Compiled:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Compiled)
    return found


def kinds(model: Kmodel) -> set[str]:
    return {op.kind for op in model.ops()}


def only(model: Kmodel, kind: str) -> list[Op]:
    return [op for op in model.ops() if op.kind == kind]


def convs(model: Kmodel) -> list[Conv2d]:
    return [conv for _, conv in model.convs()]


def test_input_and_output_have_the_shapes_of_the_network(residual: Compiled) -> None:
    entry = parse(residual.data).entry
    described = [
        (each.range.location, each.range.dtype, each.shape)
        for each in (*entry.inputs, *entry.outputs)
    ]
    assert described == [
        (Location.INPUT, DType.U8, (1, 3, 32, 32)),
        (Location.OUTPUT, DType.F32, (1, 10)),
    ]


def test_every_kind_of_operation_in_the_networks_is_found(
    residual: Compiled, dilated: Compiled
) -> None:
    kpu = {"call", "kpu_upload", "kpu_conv2d", "kpu_download"}
    cpu = {"dequantize", "quantize", "pad"}
    assert kinds(parse(residual.data)) == kpu | cpu | {"reduce", "copy", "softmax"}
    assert kinds(parse(dilated.data)) == kpu | cpu | {"kpu_copy", "transpose", "copy"}


def test_a_call_is_followed_by_the_operations_of_its_function(
    either: Compiled,
) -> None:
    model = parse(either.data)
    expected = []
    for index, instruction in enumerate(model.program):
        expected.append(f"s{index}")
        if instruction.kind == "call":
            assert instruction.function is not None
            for number in range(len(model.functions[instruction.function])):
                expected.append(f"k{instruction.function}.{number}")
    assert [op.id for op in model.ops()] == expected


def test_each_function_of_the_kpu_is_called_once(either: Compiled) -> None:
    model = parse(either.data)
    called = [each.function for each in model.program if each.kind == "call"]
    assert sorted(called, key=str) == list(range(len(model.functions)))


def test_operations_are_placed_on_kpu_dma_or_cpu(either: Compiled) -> None:
    places = {"kpu_conv2d": "kpu", "kpu_upload": "dma", "kpu_download": "dma"}
    for op in parse(either.data).ops():
        assert op.where == (places | {"kpu_copy": "dma"}).get(op.kind, "cpu")


def test_each_operation_reports_the_shape_and_bytes_of_its_output(
    either: Compiled,
) -> None:
    for op in parse(either.data).ops():
        assert op.shape == op.outputs[0].shape
        sizes = (math.prod(out.shape) * out.dtype.itemsize for out in op.outputs)
        assert op.bytes == sum(sizes)


def test_the_first_layer_is_the_first_convolution(residual: Compiled) -> None:
    first = convs(parse(residual.data))[0]
    assert (first.in_channels, first.out_channels) == (3, 8)
    assert (first.in_size, first.out_size) == ((32, 32), (32, 32))
    assert (first.kernel, first.depthwise, first.pool) == (3, False, Pool.BYPASS)
    assert (first.batches, first.weight_loads) == (1, 1)
    assert first.weights.shape == (8, 3, 3, 3)
    assert first.macs == 8 * 3 * 9 * 32 * 32


def test_a_depthwise_layer_is_recognised(residual: Compiled) -> None:
    (depthwise,) = [conv for conv in convs(parse(residual.data)) if conv.depthwise]
    assert depthwise.weights.shape == (8, 1, 3, 3)
    assert depthwise.macs == 8 * 9 * 32 * 32


def test_a_stride_costs_the_full_size(residual: Compiled) -> None:
    found = convs(parse(residual.data))
    (strided,) = [conv for conv in found if conv.pool != Pool.BYPASS]
    height, width = strided.in_size
    assert strided.out_size == (height // 2, width // 2)
    assert strided.macs == 16 * 8 * 9 * height * width


def test_the_cpu_pads_for_a_stride(residual: Compiled) -> None:
    pad = next(each for each in parse(residual.data).program if each.kind == "pad")
    (before,), (after,) = pad.inputs, pad.outputs
    rows, columns = pad.paddings[2:]
    assert after.shape == (
        *before.shape[:2],
        before.shape[2] + rows.before + rows.after,
        before.shape[3] + columns.before + columns.after,
    )
    assert after.shape != before.shape


def test_quantize_undoes_what_dequantize_does(residual: Compiled) -> None:
    program = parse(residual.data).program
    for each in program:
        if each.kind in ("dequantize", "quantize"):
            types = [each.inputs[0].dtype, each.outputs[0].dtype]
            down = each.kind == "quantize"
            assert types == ([DType.F32, DType.U8] if down else [DType.U8, DType.F32])
            assert (each.scalars["scale"] > 1) == down


def test_a_dilated_layer_counts_its_batches(dilated: Compiled) -> None:
    model = parse(dilated.data)
    (batched,) = [conv for conv in convs(model) if conv.batches > 1]
    assert batched.batches == 4
    assert batched.input.shape == batched.output.shape == (4, 8, 17, 17)
    assert batched.macs == 4 * 8 * 8 * 9 * 17 * 17
    maps = 4 * kpu_map_bytes(8, 17, 17)
    assert batched.input.size == batched.output.size == maps
    assert model.memory().kpu_ram == 2 * maps


def test_an_unpadded_layer_crops_by_a_strided_copy(dilated: Compiled) -> None:
    (copy,) = only(parse(dilated.data), "kpu_copy")
    source, target = copy.inputs[0], copy.outputs[0]
    assert source.shape == target.shape == (1, 8, 30, 30)
    assert source.strides == (8 * 32 * 32, 32 * 32, 32, 1)
    assert source.offset % (32 * 32) == 32 + 1
    assert target.strides == dense_strides(target.shape)


def test_memory_agrees_with_what_nncase_prints(either: Compiled) -> None:
    printed = dict(re.findall(r"^\.?(\w+)\s.*\((\d+) B\)", either.log, re.MULTILINE))
    usage = {name: int(size) for name, size in printed.items()}
    memory = parse(either.data).memory()
    assert memory.model == usage["MODEL"] == len(either.data)
    assert memory.data == usage["data"] + usage["input"] + usage["output"]
    assert memory.total == usage["TOTAL"]


def test_k210_scratch_memory_is_counted(dilated: Compiled) -> None:
    model = parse(dilated.data)
    assert model.k210 is not None
    assert model.k210.pool(Location.DATA) > 0


def test_tables_of_every_layer_decode(either: Compiled) -> None:
    model = parse(either.data)
    for conv in convs(model):
        assert len(model.constant(conv.weights)) == math.prod(conv.weights.shape)
        assert len(model.batch_norm(conv)) == conv.out_channels
        segments = model.activation(conv).segments
        assert segments[0].x_start == -(2**35)
        starts = [segment.x_start for segment in segments[1:]]
        assert starts == sorted(starts)


def test_only_constants_have_an_offset_in_the_file(residual: Compiled) -> None:
    model = parse(residual.data)
    with pytest.raises(ValueError, match="KPU is not in the file"):
        model.file_offset(convs(model)[0].input)


def test_tables_encode_to_their_canonical_bytes(either: Compiled) -> None:
    model = parse(canonical(either.data))
    for conv in convs(model):
        entries = model.batch_norm(conv)
        packed = b"".join(entry.pack() for entry in entries)
        assert packed == model.constant(conv.batch_norm)
        assert model.activation(conv).pack() == model.constant(conv.activation)


def test_two_processes_compile_the_same_canonical_file(
    compile_small: Compile, residual: Compiled
) -> None:
    again, _ = compile_small("residual")
    assert canonical(again) == canonical(residual.data)
    assert digest(again) == digest(residual.data)


def test_canonical_changes_nothing_that_is_parsed(either: Compiled) -> None:
    assert parse(canonical(either.data)) == parse(either.data)


def test_canonical_is_idempotent(either: Compiled) -> None:
    once = canonical(either.data)
    assert canonical(once) == once
    assert len(once) == len(either.data)


@FAST
@given(st.integers(0, 15), st.data())
def test_uninitialised_bits_do_not_reach_the_digest(
    residual: Compiled, garbage: int, data: st.DataObject
) -> None:
    model = parse(residual.data)
    conv = data.draw(st.sampled_from(convs(model)))
    words = [model.file_offset(conv.activation) + 8 * each for each in range(16)]
    norms = range(conv.out_channels)
    words += [model.file_offset(conv.batch_norm) + 8 * each for each in norms]
    changed = bytearray(residual.data)
    last = data.draw(st.sampled_from(words)) + 7
    changed[last] = changed[last] & 0x0F | garbage << 4
    changed[conv.offset + 1] = garbage
    assert digest(bytes(changed)) == digest(residual.data)


def test_a_bit_that_counts_reaches_the_digest(residual: Compiled) -> None:
    model = parse(residual.data)
    for table in (convs(model)[0].batch_norm, convs(model)[0].weights):
        changed = bytearray(residual.data)
        changed[model.file_offset(table)] ^= 1
        assert digest(bytes(changed)) != digest(residual.data)


def parsed(data: bytes) -> Kmodel | KmodelError:
    try:
        return parse(data)
    except KmodelError as error:
        return error


def check(data: bytes) -> None:
    """Whatever the bytes, they parse and canonicalise, or are refused in a sentence."""
    model = parsed(data)
    if isinstance(model, KmodelError):
        assert 0 <= model.offset <= len(data)
        assert "\n" not in str(model)
        assert len(str(model)) < 400
        return
    model.memory()
    assert parse(canonical(data)).ops() == model.ops()
    for conv in convs(model):
        model.batch_norm(conv)
        model.activation(conv)


@FAST
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), max_size=4))
def test_flipped_bytes_parse_or_are_refused(
    either: Compiled, flips: list[tuple[float, int]]
) -> None:
    data = bytearray(either.data)
    for where, mask in flips:
        data[int(where * (len(data) - 1))] ^= mask
    check(bytes(data))


@FAST
@given(st.data(), st.sampled_from([0, 1, 8, 255, 2**16, 2**31, 2**32 - 1]))
def test_any_number_in_the_headers_or_code_may_lie(
    either: Compiled, data: st.DataObject, value: int
) -> None:
    model = parse(either.data)
    assert model.k210 is not None
    spans = [range(0, model.stackvm.rdata.offset, 4)]
    spans.append(range(model.k210.offset, model.k210.rdata.offset, 4))
    for text in (model.stackvm.text, model.k210.text):
        spans.append(range(text.offset, text.offset + text.size - 4))
    where = data.draw(st.sampled_from(spans).flatmap(st.sampled_from))
    changed = bytearray(either.data)
    changed[where : where + 4] = value.to_bytes(4, "little")
    check(bytes(changed))


@FAST
@given(st.floats(0, 1, exclude_max=True))
def test_no_part_of_a_kmodel_is_a_kmodel(either: Compiled, part: float) -> None:
    with pytest.raises(KmodelError):
        parse(either.data[: int(part * len(either.data))])


@FAST
@given(st.binary(max_size=300))
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(KmodelError):
        parse(garbage)


@FAST
@given(st.binary(min_size=1, max_size=64))
def test_nothing_may_follow_the_last_module(either: Compiled, tail: bytes) -> None:
    with pytest.raises(KmodelError):
        parse(either.data + tail)


@FAST
@given(
    st.integers(-(2**23), 2**23 - 1),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(0, 15),
)
def test_batch_norm_survives_encoding(mul: int, add: int, shift: int) -> None:
    entry = BatchNorm(mul, add, shift)
    assert BatchNorm.unpack(entry.pack()) == entry


@FAST
@given(st.binary(min_size=144, max_size=144))
def test_an_activation_table_survives_encoding(raw: bytes) -> None:
    table = ActivationTable.unpack(raw)
    assert ActivationTable.unpack(table.pack()) == table


@FAST
@given(st.binary(min_size=96, max_size=96))
def test_layer_registers_survive_encoding(raw: bytes) -> None:
    registers = LayerRegisters.unpack(raw)
    assert LayerRegisters.unpack(registers.pack()) == registers


def test_weight_loads_beyond_the_six_bits_of_load_time_are_recomputed() -> None:
    raw = bytearray(96)
    raw[16:18] = raw[20:22] = (511).to_bytes(2, "little")  # input, output channels
    raw[32] = 1  # 3x3
    registers = LayerRegisters.unpack(bytes(raw))
    assert registers.channels_per_load == 6
    assert registers.load_bytes == 6 * 9 * 512
    assert registers.weight_loads == 86


@pytest.mark.parametrize(
    ("width", "layout", "size"),
    [(16, (4, 1), 2048), (32, (2, 1), 3072), (33, (1, 1), 5120), (65, (1, 2), 10240)],
)
def test_kpu_rows_hold_four_two_or_one_channel(
    width: int, layout: tuple[int, int], size: int
) -> None:
    assert kpu_row_layout(width) == layout
    assert kpu_map_bytes(5, 16, width) == size
