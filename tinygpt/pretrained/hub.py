"""Models by name from the Hugging Face Hub, with the `hub` extra.

`huggingface_hub` does the downloading, the caching and the offline mode; it heeds HF_ENDPOINT, HF_HOME and HF_TOKEN.
Only files that this package reads are fetched: JSON, safetensors, GGUF and tokenizers' files, never a pickle.

Prerequisites: folder.py, packages.py. models/base.py, models/auto.py and tokenizers/auto.py use it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .config_json import CONFIG, GENERATION_CONFIG
from .packages import PACKAGES, find_packaged
from .sentence_folder import MODULES, SENTENCE_FILES, module_folders
from .shards import INDEX, WEIGHTS, shard_names

__all__ = ["resolve_folder", "resolve_tokenizer"]

TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "merges.txt", "encoder.json", "vocab.bpe", "vocab.txt",
                   "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "source.spm", "target.spm")
BESIDE_A_TOKENIZER = (CONFIG, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
                      "chat_template.jinja")
BESIDE_A_MODEL = (GENERATION_CONFIG, "README.md", MODULES, *SENTENCE_FILES)
REPOSITORY = re.compile(r"([\w-][\w.-]*/[\w-][\w.-]*)(?:/((?:[\w-][\w.-]*/)*[\w-][\w.-]*\.gguf))?")
SHOWN = 20  # GGUF files of a repository, listed in an error message


class _Repository:
    """A repository of the Hub, of which files are fetched into the cache.

    Args:
        name: "owner/name". revision: a branch, tag or commit; None for its main branch.

    Raises:
        ImportError: huggingface_hub is not installed.
    """

    def __init__(self, name: str, revision: str | None) -> None:
        try:
            import huggingface_hub
            from huggingface_hub import errors
        except ImportError:
            raise ImportError(f"there is no folder {name!r}; to download a model of that name from the Hugging Face "
                              "Hub, install huggingface_hub: pip install 'tinygpt[hub]'") from None
        self.name, self.errors, self._hub = name, errors, huggingface_hub
        self._where: dict[str, Any] = {"repo_id": name, "revision": revision}
        self._endpoint = os.environ.get("HF_ENDPOINT")

    def fetch(self, name: str) -> Path:
        """The local copy of a file."""
        return Path(self._hub.hf_hub_download(filename=name, endpoint=self._endpoint, **self._where))

    def has(self, name: str) -> Path | None:
        """The local copy of a file, or None if there is no such file."""
        try:
            return self.fetch(name)
        except self.errors.EntryNotFoundError:
            return None

    def gguf_files(self) -> list[str]:
        """The GGUF files of the repository; without a connection, those in the cache."""
        try:
            found = self._hub.HfApi(endpoint=self._endpoint).model_info(**self._where).siblings
            names = [file.rfilename for file in found or []]
        except (OSError, self.errors.OfflineModeIsEnabled):
            folder = Path(self._hub.snapshot_download(local_files_only=True, **self._where))
            names = [path.relative_to(folder).as_posix() for path in folder.rglob("*.gguf")]
        return sorted(name for name in names if name.endswith(".gguf") and not name.startswith("mmproj"))

    def gguf(self) -> Path | None:
        """The local copy of the one GGUF file, or None if there is none.

        Raises:
            ValueError: there are several.
        """
        names = self.gguf_files()
        if len(names) > 1:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            raise ValueError(f"{self.name} holds several GGUF files; name one of them, as {self.name}/{names[0]}: "
                             f"{', '.join(names[:SHOWN])}{more}")
        return self.fetch(names[0]) if names else None


def _model(repository: _Repository) -> Path:
    """The folder of a repository's model, or its GGUF file."""
    config = repository.has(CONFIG)
    if config is None or not (repository.has(WEIGHTS) or repository.has(INDEX)):
        return repository.gguf() or repository.fetch(WEIGHTS if config else CONFIG)  # or say what is missing
    if not repository.has(WEIGHTS):
        for name in sorted(set(shard_names(repository.fetch(INDEX)).values())):
            repository.fetch(name)
    for name in (*TOKENIZER_FILES, *BESIDE_A_TOKENIZER, *BESIDE_A_MODEL):
        repository.has(name)
    for inner in module_folders(config.parent):
        for name in (CONFIG, WEIGHTS):
            repository.has(f"{inner}/{name}")
    return config.parent


def _tokenizer(repository: _Repository) -> Path:
    """The folder with a repository's tokenizer, without the weights, or its GGUF file."""
    found = [path for name in TOKENIZER_FILES if (path := repository.has(name))]
    if not found:
        return repository.gguf() or repository.fetch(TOKENIZER_FILES[0])
    for name in BESIDE_A_TOKENIZER:
        repository.has(name)
    return found[0].parent


def _resolved(name_or_path: str | Path, revision: str | None, find: Callable[[_Repository], Path]) -> Path:
    path = Path(name_or_path)
    if path.is_dir() or path.is_file():
        return path
    if str(name_or_path) in PACKAGES:
        return find_packaged(str(name_or_path))
    match = REPOSITORY.fullmatch(name_or_path) if isinstance(name_or_path, str) else None
    if match is None:
        raise FileNotFoundError(f"there is no {'model ' * (find is _model)}folder {name_or_path}")
    repository = _Repository(match[1], revision)
    errors = repository.errors
    try:
        return repository.fetch(match[2]) if match[2] else find(repository)
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):  # the first is a kind of EntryNotFoundError
        raise OSError(f"the Hugging Face Hub cannot be reached and {name_or_path!r} has not been downloaded before; "
                      "check the network, or HF_ENDPOINT") from None
    except (errors.EntryNotFoundError, errors.HfHubHTTPError) as error:
        raise FileNotFoundError(f"there is no folder {name_or_path!r}, and the Hugging Face Hub has no such model with "
                                f"safetensors weights or a GGUF file: {str(error).strip().splitlines()[-1]}") from None


def resolve_folder(name_or_path: str | Path, *, revision: str | None = None) -> Path:
    """The folder or GGUF file itself if it exists; otherwise that of an installed package (packages.py), or the local
    copy of the Hub's repository of that name.

    Args:
        name_or_path: a folder; a GGUF file; a name in PACKAGES, such as "smollm2"; "owner/name" such as
            "openai-community/gpt2"; or "owner/name/file.gguf", of a repository that holds several GGUF files.
        revision: a branch, tag or commit of the repository; default its main branch.

    Raises:
        FileNotFoundError: neither a folder nor shaped like a repository's name; a package that is not installed; or
            the Hub has no such repository, or it holds neither a model in safetensors nor a GGUF file.
        ValueError: the repository holds several GGUF files.
        ImportError: the name needs the Hub, but huggingface_hub is not installed.
        OSError: the Hub cannot be reached and there is no local copy.
    """
    return _resolved(name_or_path, revision, _model)


def resolve_tokenizer(name_or_path: str | Path, *, revision: str | None = None) -> Path:
    """As `resolve_folder`, for the tokenizer alone: the weights of a folder on the Hub are not fetched."""
    return _resolved(name_or_path, revision, _tokenizer)
