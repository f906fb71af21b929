"""The converted llama2.c model tells the story that llama2.c tells, and its folder opens in transformers."""

import importlib.util
import struct
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).resolve().parents[2] / "examples" / "09_stories260k.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("stories260k", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_story(example, shared_data, golden, capsys):
    example.main([str(shared_data / "stories260K"), "--tokens", "200"])
    expected = (golden / "stories260K_expected.txt").read_text(encoding="utf-8").rstrip("\n")
    story = capsys.readouterr().out.rstrip("\n")
    assert len(expected) > 400 and story.startswith(expected) and len(story) - len(expected) < 10


@pytest.mark.oracle
def test_the_folder_opens_in_transformers(example, shared_data, tmp_path):
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    model = example.read_checkpoint(shared_data / "stories260K" / "stories260K.bin")
    model.save_pretrained(tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    ids = np.random.default_rng(0).integers(0, 512, (2, 40))
    with torch.no_grad():
        expected = theirs(torch.tensor(ids)).logits.numpy()
    np.testing.assert_allclose(model(ids).data, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("tied", [True, False])
def test_a_made_up_checkpoint(example, tmp_path, tied):
    """Without the download: sizes from the header, and every number of the file in its place."""
    dim, hidden, layers, heads, kv, vocab, context = 8, 12, 2, 2, 1, 11, 6
    n = (vocab * dim * (1 if tied else 2) + layers * (2 * dim + dim * dim * 2 + 2 * dim * dim // 2 + 3 * dim * hidden)
         + dim + context * dim // heads)
    header = struct.pack("<7i", dim, hidden, layers, heads, kv, vocab if tied else -vocab, context)
    numbers = np.random.default_rng(0).normal(size=n).astype("<f4")
    (tmp_path / "x.bin").write_bytes(header + numbers.tobytes())
    model = example.read_checkpoint(tmp_path / "x.bin")
    assert model.n_parameters == n - context * dim // heads
    kept = np.sort(np.concatenate([p.data.reshape(-1) for p in model.parameters()]))
    assert np.isin(kept, numbers).all() and model([[1, 2, 3]]).shape == (1, 3, vocab)
    (tmp_path / "x.bin").write_bytes(header + numbers[:-1].tobytes())
    with pytest.raises(ValueError, match="ends too early"):
        example.read_checkpoint(tmp_path / "x.bin")
