"""Bytes from the web and out of a zip archive, never more than a bound, with the standard library alone.

What arrives is not to be trusted yet: corpora.py compares its hash before anything is written.

Next: corpora.py.
"""

from __future__ import annotations

import io
import queue
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from http.client import HTTPException
from typing import Any

from ..files import printable

__all__ = ["fetch", "unpack"]

LIMIT = 64 << 20  # bytes; the largest corpus is an eighth of that
TIMEOUT = 30.0  # seconds without a byte
PATIENCE = 60.0  # seconds until the answer must have begun, and until it must come at SLOWEST
SLOWEST = 2000  # bytes a second, since the beginning
MAX_MEMBERS = 10_000


def _in_time(call: Callable[[], Any], seconds: float) -> Any:
    """What `call` returns or raises, if that comes in time: a server may send a header byte by byte for ever."""
    answers: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue()

    def run() -> None:
        try:
            answers.put((call(), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        answer, error = answers.get(timeout=seconds)
    except queue.Empty:
        raise ConnectionError(f"no answer within {seconds:.0f} s") from None
    if error is not None:
        raise error
    return answer


def _receive(url: str) -> bytes:
    from tqdm import tqdm

    request = urllib.request.Request(url, headers={"User-Agent": "tinygpt"})
    received, start = io.BytesIO(), time.monotonic()
    with _in_time(lambda: urllib.request.urlopen(request, timeout=TIMEOUT), PATIENCE) as answer:
        length = answer.headers.get("Content-Length") or ""
        expected = int(length) if length.isdecimal() and len(length) < 20 else None
        with tqdm(total=expected, unit="B", unit_scale=True, disable=None) as bar:  # None: only on a terminal
            while block := answer.read1(1 << 16):
                received.write(block)
                bar.update(len(block))
                if received.tell() > LIMIT:
                    raise ValueError(f"more than {LIMIT:,} bytes arrived")
                if (seconds := time.monotonic() - start) > PATIENCE and received.tell() < SLOWEST * seconds:
                    raise ConnectionError(f"only {received.tell():,} bytes arrived within {seconds:.0f} s")
    if expected is not None and received.tell() != expected:
        raise ConnectionError(f"{received.tell()} of {expected} bytes arrived")
    return received.getvalue()


def fetch(url: str) -> bytes:
    """What `url` serves, with a progress bar on a terminal.

    Raises:
        ConnectionError: no network, no such page, a time-out, a server that takes for ever, or an answer cut short.
        ValueError: more than LIMIT bytes.
    """
    try:
        return _receive(url)
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection
        raise ConnectionError(f"HTTP {error.code}: {_said(error.reason)}") from error
    except urllib.error.URLError as error:
        raise ConnectionError(_said(error.reason)) from error
    except (OSError, HTTPException) as error:
        raise ConnectionError(_said(error)) from error


def _said(reason: object) -> str:
    """What a server said, or an error that quotes it."""
    text = " ".join(printable(str(reason)[:1000]).split())
    return text if len(text) <= 80 else f"{text[:79]}…"


def unpack(archive: bytes, member: str) -> bytes:
    """One file of a zip archive.

    Raises:
        ValueError: no zip archive, a damaged or encrypted one, no such member, or more than LIMIT bytes.
    """
    if archive.count(b"PK\x01\x02") > MAX_MEMBERS:
        raise ValueError(f"the archive holds more than {MAX_MEMBERS:,} files")
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as files:
            info = files.getinfo(member)
            if info.flag_bits & 1:
                raise ValueError(f"{member} is encrypted")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{member} is packed in another way (method {info.compress_type}) than by deflate")
            with files.open(info) as file:
                content = file.read(LIMIT + 1)
    except KeyError:
        raise ValueError(f"the archive holds no {member}") from None
    except MemoryError:
        raise
    except Exception as error:  # zipfile has no list of what damage raises: zlib.error, EOFError, NotImplementedError …
        known = type(error) in (ValueError, zipfile.BadZipFile)
        raise ValueError(str(error) if known else f"a damaged zip archive: {error or type(error).__name__}") from None
    if len(content) > LIMIT:
        raise ValueError(f"{member} unpacks to more than {LIMIT:,} bytes")
    return content
