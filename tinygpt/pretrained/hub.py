"""Model folders by name from the Hugging Face Hub, with the `hub` extra.

`huggingface_hub` does the downloading, the caching and the offline mode, and reads HF_ENDPOINT, HF_HOME and HF_TOKEN.
Only the files that this package reads are fetched: JSON, safetensors and tokenizer text, never a pickle.
Read before: shards.py. Used by models/auto.py.
"""

from __future__ import annotations

import re
from pathlib import Path

from .config_json import CONFIG, GENERATION_CONFIG
from .shards import INDEX, WEIGHTS

__all__ = ["resolve_folder"]

FILES = (CONFIG, GENERATION_CONFIG, WEIGHTS, INDEX, "model-*-of-*.safetensors", "tokenizer.json",
         "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt")
REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def resolve_folder(name_or_path: str | Path, *, revision: str | None = None) -> Path:
    """The folder itself if it exists; otherwise the local copy of the Hub's repository of that name.

    Args:
        name_or_path: a folder, or "owner/name" such as "openai-community/gpt2".
        revision: a branch, tag or commit of the repository; default its main branch.

    Raises:
        FileNotFoundError: neither a folder nor shaped like a repository's name; or the Hub knows no such repository.
        ImportError: the name needs the Hub, but huggingface_hub is not installed.
        OSError: the Hub cannot be reached and there is no local copy.
    """
    path = Path(name_or_path)
    if path.is_dir():
        return path
    if not isinstance(name_or_path, str) or not REPOSITORY.fullmatch(name_or_path):
        raise FileNotFoundError(f"there is no model folder {name_or_path}")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
    except ImportError:
        raise ImportError(f"there is no folder {name_or_path!r}; to download a model of that name from the Hugging Face "
                          "Hub, install huggingface_hub: pip install 'tinygpt[hub]'") from None
    try:
        return Path(snapshot_download(name_or_path, revision=revision, allow_patterns=list(FILES)))
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise FileNotFoundError(f"there is no folder {name_or_path!r}, and no such repository on the Hugging Face Hub "
                                f"(or it needs a token): {str(error).splitlines()[0]}") from None
    except LocalEntryNotFoundError:
        raise OSError(f"the Hugging Face Hub cannot be reached and {name_or_path!r} has not been downloaded before; "
                      "check the network, or HF_ENDPOINT") from None
