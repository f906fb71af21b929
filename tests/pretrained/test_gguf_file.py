"""The GGUF format: settings and tensors as they were written, every type widened as its authors do, no lie believed."""

import struct
import time
import tracemalloc

import numpy as np
import pytest
from gguf_writer import gguf, string
from hypothesis import given, settings, strategies as st

from tinygpt.pretrained.gguf_file import GGUFFile, is_gguf
from tinygpt.pretrained.gguf_quants import TYPES

SETTINGS = {"general.architecture": "llama", "a": 3, "b": 0.5, "c": True, "d": ["x", "ü", ""], "e": [1, 2], "f": []}


def write(path, data):
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("version", [2, 3])
def test_settings_and_tensors(tmp_path, version):
    arrays = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "y": np.ones(5, np.float32)}
    path = write(tmp_path / "m.gguf", gguf(SETTINGS, arrays, version=version))
    file = GGUFFile(path)
    assert is_gguf(path) and file.settings == SETTINGS and list(file) == ["x", "y"]
    for name, array in arrays.items():
        assert file[name].dtype == np.float32 and file[name].flags.writeable
        np.testing.assert_array_equal(file[name], array)


def test_another_alignment(tmp_path):
    data = gguf({"general.alignment": 64}, {"x": np.ones(3, np.float32), "y": np.full(2, 7, np.float32)}, alignment=64)
    assert GGUFFile(write(tmp_path / "m.gguf", data))["y"].tolist() == [7, 7]


@pytest.mark.oracle
@pytest.mark.parametrize("number", TYPES)
def test_every_type_is_widened_as_its_authors_do(tmp_path, number):
    reference, kind = pytest.importorskip("gguf"), TYPES[number]
    raw = np.random.default_rng(number).integers(0, 256, (700, kind.size), dtype=np.uint8)
    path = write(tmp_path / "m.gguf", gguf({}, {"x": (number, (700, kind.elements), raw.tobytes())}))
    with np.errstate(all="ignore"):
        wanted = reference.quants.dequantize(raw, reference.GGMLQuantizationType(number))
    np.testing.assert_array_equal(GGUFFile(path)["x"], wanted)
    assert reference.GGML_QUANT_SIZES[reference.GGMLQuantizationType(number)] == (kind.elements, kind.size)


@pytest.mark.parametrize("number, block, expected", [
    (2, np.float16(0.5).tobytes() + bytes([0x18] + [0x88] * 15), [0.0] + [0.0] * 15 + [-3.5] + [0.0] * 15),
    (3, np.array([2, -1], "<f2").tobytes() + bytes([0x2F] + [0] * 15), [29.0] + [-1.0] * 15 + [3.0] + [-1.0] * 15),
    (8, np.float16(0.25).tobytes() + np.arange(-16, 16, dtype=np.int8).tobytes(), (np.arange(-16, 16) / 4).tolist()),
])
def test_a_block_by_hand(tmp_path, number, block, expected):
    path = write(tmp_path / "m.gguf", gguf({}, {"x": (number, (1, 32), block)}))
    assert GGUFFile(path)["x"].tolist() == [expected]


def test_a_type_that_is_not_read_hinders_nothing_else(tmp_path):
    data = gguf(SETTINGS, {"x": (23, (1, 256), bytes(136)), "y": np.ones(2, np.float32)})
    file = GGUFFile(write(tmp_path / "m.gguf", data))
    assert file["y"].tolist() == [1, 1]
    with pytest.raises(ValueError, match="tensor 'x' is of type IQ4_XS, which is not read; read are F32"):
        file["x"]


ONE = {"x": np.ones(8, np.float32)}
HUGE = 1 << 62
HOSTILE = {
    "empty": (b"", "it has 0 bytes"),
    "another file": (b"PK" + bytes(40), "begins with"),
    "an old version": (gguf(version=1), "version 1"),
    "big-endian": (gguf(version=3 << 24), "version 50331648"),
    "a million million tensors": (gguf(n_tensors=HUGE), "claims .* tensors"),
    "a million million settings": (gguf(n_settings=HUGE), "claims .* settings"),
    "fewer settings than it says": (gguf(n_settings=9), "ends inside its head"),
    "a long name": (gguf(n_settings=1)[:24] + struct.pack("<Q", HUGE), "a string of"),
    "a long string": (gguf({"a": struct.pack("<IQ", 8, HUGE)}), "a string of"),
    "a string beyond the end": (gguf({"a": struct.pack("<IQ", 8, 10_000)}), "ends inside its head"),
    "a long array": (gguf({"a": struct.pack("<IIQ", 9, 4, HUGE)}), "claims .* elements"),
    "a long array of strings": (gguf({"a": struct.pack("<IIQ", 9, 8, 2_000_000)}), "ends inside its head"),
    "a string beyond the end, in an array": (gguf({"a": struct.pack("<IIQQ", 9, 8, 1, 999)}), "ends inside its head"),
    "an array of arrays": (gguf({"a": struct.pack("<IIQ", 9, 9, 1)}), "array of kind 9"),
    "a kind that is none": (gguf({"a": struct.pack("<II", 77, 1)}), "kind 77"),
    "no UTF-8": (gguf({"a": struct.pack("<I", 8) + string(b"\xff")}), "utf-8"),
    "a setting twice": (gguf({"a": 1}, n_settings=2)[:24] + 2 * (string("a") + struct.pack("<II", 4, 1)), "twice"),
    "many axes": (gguf({}, {"x": (0, (1,) * 5, bytes(4))}), "5 axes"),
    "no elements": (gguf({}, {"x": (0, (0, 4), b"")}), "impossible shape"),
    "too many elements": (gguf({}, {"x": (0, (HUGE, HUGE), b"")}), "impossible shape"),
    "half a block": (gguf({}, {"x": (2, (1, 16), bytes(9))}), "blocks have 32"),
    "truncated": (gguf({}, ONE)[:-8], "ends at byte .* truncated"),
    "beyond the end": (gguf({}, {"x": (0, (8,), bytes(32), 1 << 40)}), "ends at byte"),
    "no multiple": (gguf({}, {"x": (0, (1,), bytes(64), 4)}), "no multiple"),
    "two in one place": (gguf({}, ONE | {"y": (0, (8,), b"", 0)}), "overlaps"),
    "alignment 0": (gguf({"general.alignment": 0}, ONE), "alignment"),
    "alignment in words": (gguf({"general.alignment": "32"}, ONE), "alignment"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused_in_one_sentence(tmp_path, kind):
    data, message = HOSTILE[kind]
    path = write(tmp_path / "m.gguf", data)
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with pytest.raises(ValueError, match=message) as caught:
            GGUFFile(path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000 and time.perf_counter() - start < 5
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(f"{path} is not a valid GGUF file: ") and "\n" not in str(caught.value)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_a_file_with_some_bytes_changed_is_read_or_refused(tmp_path_factory, data):
    whole = bytearray(gguf(SETTINGS, {"x": np.ones((2, 3), np.float32), "y": (8, (1, 32), bytes(34))}))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(whole)))
    path = write(tmp_path_factory.getbasetemp() / "changed.gguf", bytes(whole[:end] if end % 2 else whole))
    try:
        file = GGUFFile(path)
        for name in file:
            file[name]
    except ValueError as error:
        assert str(error).startswith(str(path))


def test_a_file_that_shrinks(tmp_path):
    path = write(tmp_path / "m.gguf", gguf({}, ONE))
    file = GGUFFile(path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match="was shortened while it was read"):
        file["x"]
