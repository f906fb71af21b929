"""Named corpora: where they are looked for, and a download that is checked or refused, against a local server."""

from __future__ import annotations

import hashlib
import io
import re
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tinygpt.data import corpora, download
from tinygpt.data.corpora import CORPORA, Corpus, cache_folder, find_corpus

TEXT = b"once upon a time\n" * 100


def zipped(name: str, content: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as files:
        files.writestr(name, content)
    return archive.getvalue()


BOMB = zipped("in/text", b"0" * 10**6)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        bodies = {"/text": TEXT, "/short": TEXT, "/zip": zipped("in/text", TEXT), "/bomb": BOMB}
        if self.path not in bodies:
            self.send_error(404)
            return
        body = bodies[self.path]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:-20] if self.path == "/short" else body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache" / "tinygpt"


def add(monkeypatch: pytest.MonkeyPatch, url: str, content: bytes | None = TEXT, member: str | None = None) -> None:
    sha256 = None if content is None else hashlib.sha256(content).hexdigest()
    monkeypatch.setitem(CORPORA, "tale", Corpus("tale.txt", url, sha256, "a tale", member))


def test_downloaded_once_then_cached(server: str, cache: Path, monkeypatch: pytest.MonkeyPatch,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    add(monkeypatch, f"{server}/text")
    path = find_corpus("tale")
    assert path == cache / "tale.txt" and path.read_bytes() == TEXT
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == f"downloading tale from {server}/text to {path}\n"
    add(monkeypatch, f"{server}/gone")
    assert find_corpus("tale") == path


def test_member_of_an_archive(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, f"{server}/zip", member="in/text")
    assert find_corpus("tale").read_bytes() == TEXT


def test_tinygpt_data_comes_first(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mkdir(parents=True)
    (cache / "tale.txt").write_text("cached")
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.setenv("TINYGPT_DATA", str(own))
    add(monkeypatch, "http://127.0.0.1:9/none")
    assert find_corpus("tale") == cache / "tale.txt"
    (own / "tale.txt.gz").write_text("packed serves as well")
    assert find_corpus("tale") == own / "tale.txt.gz"
    (own / "tale.txt").write_text("own")
    assert find_corpus("tale") == own / "tale.txt"
    monkeypatch.setenv("TINYGPT_DATA", str(own / "gone"))
    with pytest.raises(FileNotFoundError, match="TINYGPT_DATA names .*gone', which is no folder"):
        find_corpus("tale")


@pytest.mark.parametrize(("path", "content", "member", "error", "message"), [
    ("/text", b"other", None, ValueError, "SHA-256 [0-9a-f]{64}, expected [0-9a-f]{64}"),
    ("/short", TEXT, None, ConnectionError, "1680 of 1700 bytes arrived"),
    ("/gone", TEXT, None, ConnectionError, "HTTP 404"),
    ("/text", TEXT, "in/text", ValueError, "not a zip file"),
    ("/zip", TEXT, "in/none", ValueError, "the archive holds no in/none"),
    ("/text", None, None, FileNotFoundError, "not downloaded because no hash of it is known"),
])
def test_refusals_leave_nothing_and_say_how_to_go_on(
        server: str, cache: Path, monkeypatch: pytest.MonkeyPatch, path: str, content: bytes | None, member: str | None,
        error: type[Exception], message: str) -> None:
    add(monkeypatch, server + path, content, member)
    with pytest.raises(error, match=message) as caught:
        find_corpus("tale")
    assert f"fetch {server}{path}" in str(caught.value) and str(cache / "tale.txt") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not cache.exists() or not any(cache.iterdir())


@pytest.mark.parametrize(("path", "member", "message"), [
    ("/text", None, "more than 100 bytes arrived"), ("/bomb", "in/text", "in/text unpacks to more than 1")])
def test_size_is_bounded(server: str, monkeypatch: pytest.MonkeyPatch, path: str, member: str | None,
                         message: str) -> None:
    monkeypatch.setattr(download, "LIMIT", len(BOMB) if member else 100)
    add(monkeypatch, server + path, TEXT, member)
    with pytest.raises(ValueError, match=message):
        find_corpus("tale")


def test_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, "http://127.0.0.1:9/none")  # nothing listens on the discard port
    with pytest.raises(ConnectionError, match="cannot download 'tale' .*to go on by hand, fetch"):
        find_corpus("tale")


def test_unknown_name() -> None:
    with pytest.raises(KeyError, match="no corpus is named 'tales'; there are arc, "):
        find_corpus("tales")


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "cache" / "tinygpt"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(corpora.sys, "platform", "linux")
    assert cache_folder() == Path.home() / ".cache" / "tinygpt"


def test_the_table_is_well_formed() -> None:
    for name, corpus in CORPORA.items():
        assert corpus.url.startswith("https://"), name
        assert corpus.sha256 is None or re.fullmatch("[0-9a-f]{64}", corpus.sha256), name
        assert corpus.sha256 is None or (corpus.member is not None) == corpus.url.endswith(".zip"), name
        assert corpus.about and "/" not in corpus.filename


def test_the_hashes_are_those_of_the_files_at_hand(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gzip

    monkeypatch.setenv("TINYGPT_DATA", str(shared_data))
    for name, corpus in CORPORA.items():
        try:
            content = find_corpus(name, download=False).read_bytes()
        except FileNotFoundError:
            assert corpus.sha256 is None, name  # a benchmark that everybody has to fetch by hand
            continue
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
        assert corpus.sha256 in (None, hashlib.sha256(content).hexdigest()), name
