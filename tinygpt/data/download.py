"""Bytes from the web and out of a zip archive, never more than a bound, with the standard library alone.

What arrives is not to be trusted yet: corpora.py compares its hash before anything is written.

Next: corpora.py.
"""

from __future__ import annotations

import io
import urllib.error
import urllib.request
import zipfile
from http.client import HTTPException

__all__ = ["fetch", "unpack"]

LIMIT = 64 << 20  # bytes; the largest corpus is an eighth of that
TIMEOUT = 30.0  # seconds without an answer


def _receive(url: str) -> bytes:
    from tqdm import tqdm

    request = urllib.request.Request(url, headers={"User-Agent": "tinygpt"})
    received = io.BytesIO()
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        length = answer.headers.get("Content-Length")
        expected = int(length) if length else None
        with tqdm(total=expected, unit="B", unit_scale=True, disable=None) as bar:  # None: only on a terminal
            while block := answer.read(1 << 16):
                received.write(block)
                bar.update(len(block))
                if received.tell() > LIMIT:
                    raise ValueError(f"more than {LIMIT} bytes arrived")
    if expected is not None and received.tell() != expected:
        raise ConnectionError(f"{received.tell()} of {expected} bytes arrived")
    return received.getvalue()


def fetch(url: str) -> bytes:
    """What `url` serves, with a progress bar on a terminal.

    Raises:
        ConnectionError: no network, no such page, a time-out, or an answer cut short.
        ValueError: more than LIMIT bytes.
    """
    try:
        return _receive(url)
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection
        raise ConnectionError(f"HTTP {error.code}: {error.reason}") from error
    except urllib.error.URLError as error:
        raise ConnectionError(f"{error.reason}") from error
    except (OSError, HTTPException) as error:
        raise ConnectionError(f"{error}") from error


def unpack(archive: bytes, member: str) -> bytes:
    """One file of a zip archive.

    Raises:
        ValueError: no zip archive, no such member, or more than LIMIT bytes.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as files, files.open(member) as file:
            content = file.read(LIMIT + 1)
    except KeyError as error:
        raise ValueError(f"the archive holds no {member}") from error
    except zipfile.BadZipFile as error:
        raise ValueError(f"{error}") from error
    if len(content) > LIMIT:
        raise ValueError(f"{member} unpacks to more than {LIMIT} bytes")
    return content
