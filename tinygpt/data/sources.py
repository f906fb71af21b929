"""What a user may name as data, as a stream of documents.

`--data` takes files, folders, "-" for standard input, and named corpora; with nothing named, the embedded corpus. All
of them become `Documents`: strings of bounded length that can be iterated again (first to train a tokenizer, then to
encode), so a corpus larger than memory streams.

Prerequisites: text_files.py, embedded.py, corpora.py. Next: split.py.
"""

from __future__ import annotations

import difflib
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..files import shown, user_path
from .corpora import CORPORA, find_corpus
from .embedded import embedded_documents
from .records import file_format, read_columns
from .synthetic import SYNTHETIC
from .text_files import STDIN, read_chunks, refusal

__all__ = ["DOCUMENT_LIMIT", "EMBEDDED", "Documents", "TOKEN_INDEX", "bounded", "find_table"]

EMBEDDED = "python-docs"  # the name of the embedded corpus
DOCUMENT_LIMIT = 1 << 22  # characters
TOKEN_INDEX = "tokens.json"  # in a folder of tokens; see shards.py
LONGEST_PATH = 240  # of which a message shows: its end says most


def _cut(text: str, limit: int) -> int:
    """The last place at or before `limit` where a split changes no token: before a space that follows a non-space.

    No piece of GPT-2's, GPT-4's or GPT-4o's split pattern spans such a place. A text without one is cut at `limit`.
    """
    at = limit
    while (at := text.rfind(" ", 1, at + 1)) > 0:
        if not text[at - 1].isspace():
            return at
        at -= 1
    return limit


def bounded(chunks: Iterable[str], limit: int = DOCUMENT_LIMIT) -> Iterator[str]:
    """`chunks` joined and cut again into texts of at most `limit` characters, where a cut changes no token.

    >>> list(bounded(["one two", " three"], limit=9))
    ['one two', ' three']
    """
    text = ""
    for chunk in chunks:
        text += chunk
        while len(text) > limit:
            cut = _cut(text, limit)
            yield text[:cut]
            text = text[cut:]
    if text:
        yield text


def _file_documents(path: str | Path) -> Iterator[str]:
    """The documents of one file: the "text" of each record of a .jsonl, otherwise the file itself."""
    if file_format(path) == "jsonl":
        for (text,) in read_columns(path, ["text"]):
            yield from bounded([text])
    else:
        yield from bounded(read_chunks(path))


def _folder_files(folder: Path) -> list[Path]:
    """The text files under `folder`, sorted by path; a warning counts the files that were left out."""
    files: list[Path] = []
    refused: list[Path] = []
    hidden = 0
    for parent, folders, names in os.walk(folder):
        hidden += sum(name.startswith(".") for name in folders + names)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(parent, name) for name in names if not name.startswith(".")):
            if path.is_file():
                (files if refusal(path) is None else refused).append(path)
    if hidden or refused:
        example = f" (such as {min(refused).relative_to(folder)})" if refused else ""
        warnings.warn(f"{folder}: reading {len(files)} files; skipped {hidden} hidden ones and {len(refused)} that are "
                      f"empty or not text{example}", stacklevel=4)
    if not files:
        raise ValueError(f"{folder} holds no text file; expected a folder with UTF-8 text")
    return sorted(files)


def _unknown(spec: str) -> FileNotFoundError:
    names = sorted([*CORPORA, EMBEDDED, *SYNTHETIC])
    near = difflib.get_close_matches(spec[:80], names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return FileNotFoundError(f"no file or folder {shown(spec, LONGEST_PATH)}, and no corpus has that name "
                             f"({', '.join(names)}){hint}")


class Documents:
    """The documents that `specs` name, in the order given; iterate as often as you like.

    Text is UTF-8 without its byte-order mark, with "\\n" line ends. A document longer than DOCUMENT_LIMIT characters
    comes in several parts, cut where it changes no token; each part then counts as a document.

    Args:
        specs: any of
            a file (text of any name, .gz too; .jsonl gives the "text" field of each record);
            a folder (its text files and those of its subfolders, sorted; hidden ones are skipped);
            "-" (standard input), or a named pipe: held in memory;
            a named corpus, see `CORPORA`, or "python-docs", the embedded one; or a synthetic data set, see
            `SYNTHETIC`. A path of the same name wins.
            Nothing at all means the embedded corpus.

    Attributes:
        sources: files to stream, or documents that are held in memory.

    Raises:
        FileNotFoundError: no file, folder or corpus of that name.
        ValueError: a file is empty, binary, a PDF or broken gzip, or a folder holds no text, or tokens.
        ConnectionError: a corpus could not be downloaded.

    Warns:
        UserWarning: invalid UTF-8 was replaced (while iterating), or files of a folder were skipped.
    """

    def __init__(self, specs: str | Path | Sequence[str | Path] = ()) -> None:
        if isinstance(specs, (str, Path)):
            specs = [specs]
        self.sources: list[Path | tuple[str, ...]] = []
        for spec in specs or [EMBEDDED]:
            self.sources += self._resolve(spec)

    @staticmethod
    def _resolve(spec: str | Path) -> Sequence[Path | tuple[str, ...]]:
        path = user_path(spec)
        if spec == STDIN or (path.exists() and not path.is_file() and not path.is_dir()):  # pipes: readable only once
            return [tuple(bounded(read_chunks(spec)))]
        if path.is_dir() and spec != "":  # Path("") would be the current folder
            if (path / TOKEN_INDEX).is_file():
                raise ValueError(f"{path} holds tokens that `tinygpt data` has made, and here texts are needed; to "
                                 "train on tokens, see tinygpt pretrain --objective causal")
            return _folder_files(path)
        if not path.is_file():
            if spec == EMBEDDED:
                return [embedded_documents()]
            if spec in SYNTHETIC:
                return [SYNTHETIC[str(spec)].documents()]
            if spec not in CORPORA:
                raise _unknown(str(spec))
            path = find_corpus(str(spec))
        problem = refusal(path)  # now, not hours into a run
        if problem is not None:
            raise ValueError(f"{path} is {problem}")
        return [path]

    def __iter__(self) -> Iterator[str]:
        for source in self.sources:
            yield from source if isinstance(source, tuple) else _file_documents(source)


def find_table(spec: str | Path) -> str | Path:
    """What `located_records` and `read_columns` open for a name: a file, "-", a named corpus, or a synthetic data set.

    Raises:
        FileNotFoundError, IsADirectoryError: nothing has that name, or a folder has it.
        ConnectionError: a corpus could not be downloaded.
    """
    path = user_path(spec)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name the file in it that holds the records")
    if spec == STDIN or path.exists():
        return spec if spec == STDIN else path
    if spec in SYNTHETIC:
        return spec
    if spec in CORPORA:
        return find_corpus(str(spec))
    near = difflib.get_close_matches(str(spec)[:80], [*CORPORA, *SYNTHETIC], n=1)
    raise FileNotFoundError(f"no file {shown(str(spec), LONGEST_PATH)}, and no corpus has that name"
                            f"{f'; did you mean {near[0]!r}?' if near else ''}")
