"""Model folders by name from the Hugging Face Hub, with the `hub` extra.

`huggingface_hub` does the downloading, the caching and the offline mode; it heeds HF_ENDPOINT, HF_HOME and HF_TOKEN.
Only files that this package reads are fetched: JSON, safetensors and tokenizer text, never a pickle.
Prerequisites: folder.py. models/base.py and models/auto.py use it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from .config_json import CONFIG, GENERATION_CONFIG
from .shards import INDEX, WEIGHTS, shard_names

__all__ = ["resolve_folder"]

OPTIONAL = (GENERATION_CONFIG, "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json",
            "merges.txt")
REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def _download_all(fetch: Callable[[str], str], has: Callable[[str], bool]) -> Path:
    """Fetch a repository's files with `fetch`, those that may be absent with `has`; return their folder."""
    folder = Path(fetch(CONFIG)).parent
    if not has(WEIGHTS):
        for name in sorted(set(shard_names(Path(fetch(INDEX))).values())):
            fetch(name)
    for name in OPTIONAL:
        has(name)
    return folder


def resolve_folder(name_or_path: str | Path, *, revision: str | None = None) -> Path:
    """The folder itself if it exists; otherwise the local copy of the Hub's repository of that name.

    Args:
        name_or_path: a folder, or "owner/name" such as "openai-community/gpt2".
        revision: a branch, tag or commit of the repository; default its main branch.

    Raises:
        FileNotFoundError: neither a folder nor shaped like a repository's name; or the Hub has no such repository, or
            it lacks config.json or safetensors weights.
        ImportError: the name needs the Hub, but huggingface_hub is not installed.
        OSError: the Hub cannot be reached and there is no local copy.
    """
    path = Path(name_or_path)
    if path.is_dir() or path.is_file():
        return path
    if not isinstance(name_or_path, str) or not REPOSITORY.fullmatch(name_or_path):
        raise FileNotFoundError(f"there is no model folder {name_or_path}")
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError
    except ImportError:
        raise ImportError(f"there is no folder {name_or_path!r}; to download a model of that name from the Hugging "
                          "Face Hub, install huggingface_hub: pip install 'tinygpt[hub]'") from None

    def fetch(name: str) -> str:
        return hf_hub_download(name_or_path, name, revision=revision, endpoint=os.environ.get("HF_ENDPOINT"))

    def has(name: str) -> bool:
        try:
            return bool(fetch(name))
        except EntryNotFoundError:
            return False

    try:
        return _download_all(fetch, has)
    except LocalEntryNotFoundError:                            # a kind of EntryNotFoundError: the narrower one first
        raise OSError(f"the Hugging Face Hub cannot be reached and {name_or_path!r} has not been downloaded before; "
                      "check the network, or HF_ENDPOINT") from None
    except (EntryNotFoundError, HfHubHTTPError) as error:
        raise FileNotFoundError(f"there is no folder {name_or_path!r}, and the Hugging Face Hub has no such model with "
                                f"safetensors weights: {str(error).strip().splitlines()[-1]}") from None
