"""`import tinygpt` is cheap: it brings in NumPy, and no package that only some uses need."""

from __future__ import annotations

import subprocess
import sys

import pytest

LATER = """argparse cupy datasets http huggingface_hub hypothesis jax matplotlib multiprocessing pooch pydoc_data regex
    requests safetensors scipy tensorflow threadpoolctl tokenizers torch tqdm transformers urllib.request""".split()


def modules_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("statement", ["import tinygpt", "import tinygpt; from tinygpt.models import GPT, GPTConfig"])
def test_what_is_not_imported(statement):
    brought = modules_after(statement) - modules_after("import numpy" + (", regex" if "models" in statement else ""))
    assert sorted(name for name in LATER if name in brought) == []


def test_importing_does_nothing_else(tmp_path):
    """No file is written, no thread started, nothing printed, and NumPy's error state and random state stay."""
    code = ("import threading, numpy as np; before = np.geterr(), np.random.get_state()[1].tolist()\n"
            "import tinygpt\n"
            "assert (np.geterr(), np.random.get_state()[1].tolist()) == before and threading.active_count() == 1")
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "") and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ["tinygpt.cli", "tinygpt.training", "tinygpt.testing", "tinygpt.pretrained"])
def test_packages_import_without_their_optional_parts(module):
    brought = modules_after(f"import {module}")
    assert not brought & {"cupy", "huggingface_hub", "hypothesis", "matplotlib", "pooch", "torch", "transformers"}
