"""The file format: equal to the reference implementation, the same bytes every time, and nothing believed unchecked."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from tinygpt.pretrained.safetensors_file import DTYPES, SafetensorsFile, write_safetensors

ARRAYS = st.dictionaries(
    st.text(max_size=8).filter(lambda name: name != "__metadata__" and name.isprintable()),
    st.sampled_from([code for name, code in DTYPES.items() if name != "BF16"]).flatmap(
        lambda code: hnp.arrays(code, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))),
    max_size=4)


def raw(header, data=b""):
    """The bytes of a file with this header (an object, or bytes as they are) and data."""
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(header).to_bytes(8, "little") + header + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def write(path, data):
    path.write_bytes(data)
    return path


@settings(deadline=None, max_examples=60)
@given(arrays=ARRAYS, metadata=st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2))
def test_what_is_written_is_read_back(tmp_path_factory, arrays, metadata):
    path = tmp_path_factory.mktemp("st") / "x.safetensors"
    write_safetensors(path, arrays, metadata)
    file = SafetensorsFile(path)
    assert set(file) == set(arrays) and file.metadata == metadata
    for name, array in arrays.items():
        assert file[name].dtype == array.dtype and file[name].shape == array.shape
        assert file[name].tobytes() == array.tobytes()


@pytest.mark.oracle
@settings(deadline=None, max_examples=60)
@given(arrays=ARRAYS)
def test_the_reference_implementation_reads_ours_and_we_read_its(tmp_path_factory, arrays):
    reference = pytest.importorskip("safetensors.numpy")
    path = tmp_path_factory.mktemp("st") / "x.safetensors"
    write_safetensors(path, arrays, {"format": "pt"})
    read = reference.load_file(path)
    assert set(read) == set(arrays) and all(read[name].tobytes() == arrays[name].tobytes() for name in arrays)
    reference.save_file(arrays, path)
    assert {name: array.tobytes() for name, array in SafetensorsFile(path).items()} \
        == {name: array.tobytes() for name, array in arrays.items()}


def test_the_same_arrays_give_the_same_bytes(tmp_path):
    arrays = {"b": np.arange(3, dtype=np.int8), "a": np.eye(3).T[:, ::-1], "c": np.float32(1) * np.ones(2, np.float32)}
    write_safetensors(tmp_path / "1", arrays, {"x": "1", "a": "2"})
    write_safetensors(tmp_path / "2", dict(reversed(arrays.items())), {"a": "2", "x": "1"})
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    assert np.array_equal(SafetensorsFile(tmp_path / "1")["a"], arrays["a"])


def test_a_failed_write_leaves_the_old_file(tmp_path):
    write_safetensors(tmp_path / "x", {"a": np.ones(2)})
    with pytest.raises(ValueError, match="'a' of dtype complex128 cannot be written"):
        write_safetensors(tmp_path / "x", {"a": np.ones(2, np.complex128)})
    assert np.array_equal(SafetensorsFile(tmp_path / "x")["a"], np.ones(2))
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_big_endian_arrays_are_written_as_the_format_wants(tmp_path):
    write_safetensors(tmp_path / "x", {"a": np.arange(3, dtype=">f4")})
    assert np.array_equal(SafetensorsFile(tmp_path / "x")["a"], np.arange(3))


@settings(deadline=None)
@given(bits=hnp.arrays(np.uint16, 5))
def test_bfloat16_is_the_upper_half_of_a_float32(tmp_path_factory, bits):
    path = write(tmp_path_factory.mktemp("st") / "x",
                 raw({"a": entry("BF16", (5,), (0, 10))}, bits.astype("<u2").tobytes()))
    array = SafetensorsFile(path)["a"]
    assert array.dtype == np.float32 and np.array_equal(array.view(np.uint32), bits.astype(np.uint32) << 16)


def test_bfloat16_values(tmp_path):
    bits = np.array([0x3F80, 0xC000, 0x7F80, 0x0000], "<u2")
    file = SafetensorsFile(write(tmp_path / "x", raw({"a": entry("BF16", (4,), (0, 8)),
                                                      "b": entry("BF16", (), (8, 10))}, bits.tobytes() + b"\x80\x3f")))
    assert file["a"].tolist() == [1.0, -2.0, np.inf, 0.0] and file["b"] == 1.0 and file["b"].shape == ()


@pytest.mark.parametrize("data, message", [
    (b"", "claims 0 bytes in a file of 0 bytes"),
    (b"\x01\x00", "in a file of 2 bytes"),
    (b"\xff" * 8, "claims 18,446,744,073,709,551,615 bytes"),
    ((200_000_000).to_bytes(8, "little") + b"{}", "claims 200,000,000 bytes"),
    (raw(b"[]"), "must hold a JSON object, found list"),
    (raw(b"{"), "not valid JSON"),
    (raw(b"\xff{}"), "not valid JSON"),
    (raw(b"[" * 100_000), "not valid JSON"),
    (raw(b'{"a":' * 100_000), "not valid JSON"),
    (raw(b'{"a": ' + b"9" * 10_000 + b"}"), "not valid JSON"),
    (raw(b'{"a": {}, "a": {}}'), "the name 'a' is given twice"),
    (raw(b'{"a": NaN}'), "NaN is not JSON"),
    (raw({"a": 1}), "'a' must have dtype, shape and data_offsets"),
    (raw({"__metadata__": {"a": 1}}), "must map names to strings"),
    (raw({"a": entry("F8_E9M9")}, bytes(8)), "dtype 'F8_E9M9', which is not supported; supported: F64"),
    (raw({"a": entry(["F32"])}, bytes(8)), "which is not supported"),
    (raw({"a": entry(shape=(-2,))}, bytes(8)), "no proper shape"),
    (raw({"a": entry(shape=(2.0,))}, bytes(8)), "no proper shape"),
    (raw({"a": entry(shape=(True, 2))}, bytes(8)), "no proper shape"),
    (raw({"a": entry(shape=[1] * 40 + [2])}, bytes(8)), "no proper shape"),
    (raw({"a": entry(shape=(1 << 62, 0), offsets=(0, 0))}), "too large"),
    (raw({"a": entry(shape=(1 << 29, 0), offsets=(0, 0))}), "too large"),
    (raw({"a": entry(shape=(0, 40_000_000), offsets=(0, 0))}), "too large"),
    (raw(b"[" + b"[]," * 3_000_000 + b"1]"), "it holds .* values, at most"),
    (raw({"x" * 100_000: 1}), "tensor 'xxxxxxx"),
    (raw({"a": entry(shape=(1 << 40,), offsets=(0, 1 << 42))}, bytes(8)), "is it truncated"),
    (raw({"a": entry(offsets=(8, 0))}, bytes(8)), "do not span"),
    (raw({"a": entry(offsets=(0, 4))}, bytes(8)), "do not span the 8 bytes"),
    (raw({"a": entry(offsets=(-8, 0))}, bytes(8)), "no proper data_offsets"),
    (raw({"a": entry(offsets=(0, 8, 8))}, bytes(8)), "no proper data_offsets"),
    (raw({"a": entry()}, bytes(7)), "is it truncated"),
    (raw({"a": entry()}, bytes(9)), "the file has"),
    (raw({"a": entry(), "b": entry()}, bytes(8)), "'b' overlaps 'a'"),
    (raw({"a": entry(), "b": entry(offsets=(4, 12))}, bytes(12)), "'b' overlaps 'a'"),
    (raw({"a": entry(), "b": entry(offsets=(12, 20))}, bytes(20)), "'b' leaves a hole after 'a'"),
    (raw({"a": entry(offsets=(4, 12))}, bytes(12)), "'a' leaves a hole after the header"),
])
def test_hostile_files(tmp_path, data, message):
    with pytest.raises(ValueError, match=f"not a valid safetensors file: .*{message}"):
        SafetensorsFile(write(tmp_path / "x", data))


def test_booleans_are_zero_or_one(tmp_path):
    file = SafetensorsFile(write(tmp_path / "x", raw({"a": entry("BOOL", (2,), (0, 2))}, b"\x01\x02")))
    with pytest.raises(ValueError, match="bytes other than 0 and 1"):
        file["a"]


def test_a_file_that_shrinks_while_it_is_read(tmp_path):
    path = write(tmp_path / "x", raw({"a": entry()}, bytes(8)))
    file = SafetensorsFile(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="was shortened"):
        file["a"]


def read_all(path):
    for array in SafetensorsFile(path).values():
        assert array.nbytes <= 2 * path.stat().st_size


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
                    max_leaves=8)
SHAPES = st.lists(st.integers(-1, 1 << 65) | st.integers(0, 3), max_size=3)
ENTRIES = st.fixed_dictionaries({"dtype": st.sampled_from([*DTYPES, "F8"]), "shape": SHAPES | JSON,
                                 "data_offsets": st.lists(st.integers(-1, 1 << 65) | st.integers(0, 20), max_size=3)})
HEADERS = st.dictionaries(st.text(max_size=3), ENTRIES | JSON, max_size=3)


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.binary(max_size=64),
                 st.builds(lambda header, data: raw(header, data), st.binary(max_size=40) | HEADERS,
                           st.binary(max_size=40))))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data):
    path = write(tmp_path_factory.getbasetemp() / "fuzz.safetensors", data)
    tracemalloc.start()
    try:
        read_all(path)
    except ValueError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 1 << 20                                                   # nothing is allocated on a file's word


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_a_valid_file_with_bytes_changed_is_read_or_refused(tmp_path_factory, data):
    good = bytearray(raw({"a": entry(), "b": entry("BF16", (2, 2), (8, 16)), "c": entry("BOOL", (1,), (16, 17))},
                         bytes(17)))
    for _ in range(data.draw(st.integers(1, 3))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    path = write(tmp_path_factory.getbasetemp() / "fuzz.safetensors", bytes(good[:data.draw(st.integers(0, len(good)))])
                 if data.draw(st.booleans()) else bytes(good))
    try:
        read_all(path)
    except ValueError:
        pass


def test_null_as_metadata_and_small_empty_arrays(tmp_path):
    path = write(tmp_path / "x", raw({"__metadata__": None, "a": entry(shape=(0, 4096), offsets=(0, 0))}))
    file = SafetensorsFile(path)
    assert file.metadata == {} and file["a"].shape == (0, 4096)
