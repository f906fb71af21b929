"""Checksums of what is written: any change is found, whatever reads the file; other programs are not disturbed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tinygpt.models import GPT, GPTConfig, load_model
from tinygpt.pretrained import SafetensorsFile, checksums, write_safetensors
from tinygpt.pretrained.checksums import checksum


def arrays() -> dict[str, np.ndarray]:
    """Of several types and sizes: nothing, less than a page, pages, and pages and a bit; one is not contiguous."""
    rng = np.random.default_rng(0)
    return {"none": np.zeros((0, 3), np.float32), "few": rng.random(3), "pages": rng.random((64, 64)).T,
            "bit": rng.integers(0, 9, 5001, dtype=np.int8), "large": rng.random(1 << 17, dtype=np.float32)}


@pytest.mark.parametrize("together", [1, checksums.TOGETHER])
def test_the_same_bytes_however_they_are_worked_out(tmp_path, monkeypatch, together):
    """By a second thread or not."""
    write_safetensors(tmp_path / "plain", arrays())
    monkeypatch.setattr(checksums, "TOGETHER", together)
    write_safetensors(tmp_path / "x", arrays())
    assert (tmp_path / "x").read_bytes() == (tmp_path / "plain").read_bytes()
    file = SafetensorsFile(tmp_path / "x")
    assert file.metadata == {} and set(file.sums) == set(arrays())
    for name, value in arrays().items():
        assert file[name].tobytes() == value.tobytes()


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 3 * 4096 + 8, checksums.BLOCK + 5000])
def test_what_a_checksum_is(size):
    """By hand: the CRC-32 of the sums of pages, and of the rest."""
    import zlib
    data = np.random.default_rng(size).integers(256, size=size, dtype=np.uint8)
    whole = data.tobytes()
    pages = [whole[at:at + 4096] for at in range(0, size - 4095, 4096)]
    sums = b"".join((sum(int.from_bytes(page[i:i + 8], "little") for i in range(0, 4096, 8)) % 2 ** 64).to_bytes(
        8, "little") for page in pages)
    assert checksum(data) == zlib.crc32(sums + whole[4096 * len(pages):])


def test_a_flipped_bit_zeros_and_exchanged_pages_are_found():
    rng = np.random.default_rng(0)
    data = rng.integers(256, size=10 * 4096 + 77, dtype=np.uint8)
    expected = checksum(data)
    for at in rng.integers(data.size, size=300):
        data[at] ^= 1 << (at % 8)
        assert checksum(data) != expected
        data[at] ^= 1 << (at % 8)
    zeroed, exchanged = data.copy(), data.copy()
    zeroed[4096:8192] = 0
    exchanged[:8192] = np.roll(data[:8192], 4096)
    assert expected == checksum(data) not in (checksum(zeroed), checksum(exchanged))


def test_a_model_folder_that_was_damaged_is_refused(tmp_path):
    model = GPT(GPTConfig(vocab_size=11, block_size=8, n_layer=1, n_head=2, n_embd=8))
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    whole = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(whole[:8], "little")
    for at in np.random.default_rng(0).integers(start, len(whole), 40):
        whole[at] ^= 4
        path.write_bytes(whole)
        whole[at] ^= 4
        with pytest.raises(ValueError, match="model.safetensors is damaged: tensor '.*' does not have the checksum"):
            load_model(tmp_path)
    path.write_bytes(whole)
    load_model(tmp_path)


def rewritten(path, change):
    """The file with another header, its data as they are."""
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8:8 + length])
    change(header)
    encoded = json.dumps(header, separators=(",", ":")).encode()
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + whole[8 + length:])


def test_without_checksums_nothing_is_checked_and_nothing_refused(tmp_path):
    write_safetensors(tmp_path / "x", arrays())
    rewritten(tmp_path / "x", lambda header: header.pop("__metadata__"))
    assert SafetensorsFile(tmp_path / "x").sums == {} and len(dict(SafetensorsFile(tmp_path / "x"))) == 5


@pytest.mark.parametrize("value", ["", "0", "zzzzzzzz", "0" * 48, "é" * 8, "0x123456", "9" * 1000])
def test_wrong_checksums_are_refused(tmp_path, value):
    write_safetensors(tmp_path / "x", arrays())
    rewritten(tmp_path / "x", lambda header: header["__metadata__"].update(checksums=value))
    with pytest.raises(ValueError, match="its header does not have the checksum that it names"):
        SafetensorsFile(tmp_path / "x")
