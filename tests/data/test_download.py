"""Servers and archives that mean no good, or are broken."""

from __future__ import annotations

import io
import random
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tinygpt.data import download
from tinygpt.data.download import fetch, unpack


@contextmanager
def serving(say: Callable[[socket.socket], None]) -> Iterator[str]:
    """The address of a server that reads a request and then does as it likes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                try:
                    say(connection)
                except OSError:
                    pass  # the client has had enough

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/x"


def drip(head: bytes) -> Callable[[socket.socket], None]:
    def say(connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(200):
            connection.sendall(b"x")
            time.sleep(0.05)
    return say


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PATIENCE", 0.5)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.mark.parametrize("head, message", [
    (b"HTTP/1.0 200 OK\r\nContent-Length: 100000\r\n\r\n", "only [0-9]+ bytes arrived within"),
    (b"HTTP/1.0 200 OK\r\n\r\n", "only [0-9]+ bytes arrived within"),
    (b"", "no answer within"), (b"HTTP/1.0 200 OK\r\nA: ", "no answer within"),
])
def test_a_byte_now_and_then_is_not_waited_for(head: bytes, message: str) -> None:
    start = time.monotonic()
    with serving(drip(head)) as url, pytest.raises(ConnectionError, match=message):
        fetch(url)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("answer", [
    b"HTTP/1.0 404 \x1b[2Jgone " + b"x" * 5000 + b"\r\n\r\n", b"\x1b]0;title\x07" + b"y" * 5000 + b"\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n"[:10] + b"\x1b\r\n\r\n",
])
def test_what_a_server_says_is_harmless_and_short(answer: bytes) -> None:
    with serving(lambda connection: connection.sendall(answer)) as url, pytest.raises(ConnectionError) as caught:
        fetch(url)
    assert "\x1b" not in str(caught.value) and "\x07" not in str(caught.value) and len(str(caught.value)) < 120


@pytest.mark.parametrize("length", ["x", "-5", "9" * 5000, "1e3", "\xb2"])
def test_a_length_that_is_no_number_is_nobodys_concern(length: str) -> None:
    answer = f"HTTP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\nwords".encode("latin-1")
    with serving(lambda connection: connection.sendall(answer)) as url:
        try:
            assert fetch(url) in (b"words", b"")
        except ConnectionError as error:
            assert "bytes arrived" in str(error)


def archive(method: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as files:
        files.writestr("in/text", "words " * 300)
    return content.getvalue()


def test_any_damage_to_an_archive_is_a_sentence() -> None:
    rng, refused = random.Random(0), 0
    whole = [archive(method) for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2,
                                            zipfile.ZIP_LZMA)]
    for case in range(2000):
        data = bytearray(whole[case % 4])
        for _ in range(rng.choice([1, 2, 8])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            unpack(bytes(data[:rng.randrange(len(data))] if case % 5 == 0 else data), "in/text")
        except ValueError as error:
            refused += 1
            assert " " in str(error)
    assert refused > 700


def test_what_else_is_refused_of_archives() -> None:
    encrypted = bytearray(archive())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[encrypted.index(signature) + offset] |= 1
    with pytest.raises(ValueError, match="in/text is encrypted"):
        unpack(bytes(encrypted), "in/text")
    with pytest.raises(ValueError, match=r"in/text is packed in another way \(method 14\) than by deflate"):
        unpack(archive(zipfile.ZIP_LZMA), "in/text")
    with pytest.raises(ValueError, match="more than 10,000 files"):
        unpack(b"PK\x01\x02" * 10_001, "in/text")
