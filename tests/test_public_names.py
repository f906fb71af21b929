"""What `import tinygpt` gives, and what it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tinygpt

# Nothing of these is needed to differentiate an expression; each is imported by what does need it.
NOT_AT_IMPORT = ("safetensors", "tqdm", "threadpoolctl", "matplotlib", "huggingface_hub", "pooch", "cupy", "hypothesis",
                 "torch", "transformers", "tinygpt.models", "tinygpt.training", "tinygpt.tokenizers")


@pytest.mark.parametrize("name", tinygpt.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(tinygpt, name) is not None


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'pipe_line'"):
        tinygpt.pipe_line


def test_functions_of_a_package_are_its_own() -> None:
    from tinygpt.models import load_model
    from tinygpt.tokenizers import load_tokenizer
    assert tinygpt.load_model is load_model and tinygpt.load_tokenizer is load_tokenizer


def test_import_loads_the_engine_alone() -> None:
    code = f"import sys, tinygpt; print(*[name for name in {NOT_AT_IMPORT!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True)
    assert found.stdout.split() == []
