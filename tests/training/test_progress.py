"""What a person sees: a bar on a terminal, plain lines anywhere else; the history on disk and its picture."""

from __future__ import annotations

import io
import json
import os
import struct
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.training import MetricsLog, Progress, plot_losses, read_metrics
from tinygpt.training.metrics import _smoothed
from tinygpt.training.progress import duration


@pytest.mark.parametrize("seconds, text", [(0, "0:00"), (7.4, "0:07"), (59.6, "1:00"), (754, "12:34"),
                                           (3599.9, "1:00:00"), (3723, "1:02:03"), (360_000, "100:00:00")])
def test_duration(seconds, text):
    assert duration(seconds) == text


@given(st.integers(0, 120), st.integers(0, 120))
@settings(deadline=None, max_examples=40, derandomize=True)
def test_piped_there_are_some_twenty_plain_lines_and_the_last_step(total, done):
    done = min(done, total)
    stream = io.StringIO()
    progress = Progress(total, done, stream)
    progress.resume_clock()
    for step in range(done + 1, total + 1):
        timing = progress.step(step, loss=2.5, lr=1e-3, tokens=64)
        assert timing["seconds"] >= 0 and timing["tokens_per_second"] >= 0
    progress.close()
    lines = stream.getvalue().splitlines()
    assert len(lines) <= 40 and "\r" not in stream.getvalue() and "\x1b" not in stream.getvalue()
    if done < total:
        assert lines[-1].startswith(f"step {total}/{total}  loss 2.5000  lr 1.00e-03  ") and "0:00 left" in lines[-1]


def test_a_line_commands_no_terminal():
    stream = io.StringIO()
    Progress(1, stream=stream).line("a sample:\n\tnaïve\xa0\x1b[2J\x0e\r日本 \x9b")
    assert stream.getvalue() == "a sample:\n\tnaïve\xa0\ufffd[2J\ufffd\ufffd日本 \ufffd\n"


def test_pauses_do_not_count_as_training(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    stream = io.StringIO()
    progress = Progress(10, stream=stream, every=1)
    for step in (1, 2, 3):
        progress.resume_clock()
        now[0] += 2.0
        timing = progress.step(step, 1.0, 1e-3, tokens=100)
        now[0] += 1000.0  # a validation, say
    assert timing == {"seconds": 6.0, "tokens_per_second": 50.0}
    assert stream.getvalue().splitlines()[-1] == "step 3/10  loss 1.0000  lr 1.00e-03  50 tokens/s  0:14 left"


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals there")
@pytest.mark.parametrize("columns", [0, 40, 120])
def test_on_a_terminal_there_is_a_bar_with_lines_above_it(columns):
    import fcntl
    import termios

    main, side = os.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with open(side, "w", encoding="utf-8") as stream:
        progress = Progress(3, 1, stream)
        progress.resume_clock()
        progress.step(2, loss=1.25, lr=5e-4, tokens=10)
        progress.line("a line of its own")
        progress.step(3, loss=1.125, lr=5e-4, tokens=10)
        progress.close()
        shown = b""
        while not shown.endswith(b"\r\n") or b"own" not in shown or b"100%" not in shown:
            shown += os.read(main, 100_000)
    os.close(main)
    pieces = shown.decode().replace("\n", "\r").split("\r")
    assert "a line of its own" in pieces and "step 3/3" not in shown.decode()
    assert any(piece.startswith("100%") and (columns == 40 or "loss 1.125" in piece) for piece in pieces)
    assert all(len(piece) <= (columns or 100) for piece in pieces)


# -- metrics ----------------------------------------------------------------------------------------------------------


def test_a_resumed_log_drops_what_lies_beyond_the_checkpoint_and_lines_cut_off(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    for step in (1, 2, 3):
        log.write(step=step, loss=step / 2)
    log.write(step=3, validation_loss=1.5)
    log.close()
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"step": 4, "loss"')
    assert [e["step"] for e in read_metrics(path)] == [1, 2, 3, 3]
    log = MetricsLog(path, done=2)
    log.write(step=3, loss=9.0)
    log.close()
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == [
        {"step": 1, "loss": 0.5}, {"step": 2, "loss": 1.0}, {"step": 3, "loss": 9.0}]
    MetricsLog(path, done=0).close()
    assert path.read_bytes() == b"" and list(read_metrics(tmp_path / "absent")) == []


def test_entries_are_on_disk_at_once(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.write(step=1, loss=0.5)
    assert list(read_metrics(tmp_path / "metrics.jsonl")) == [{"step": 1, "loss": 0.5}]
    log.close()


@pytest.mark.parametrize("entries", [
    [], [dict(step=1, loss=2.0)], [dict(step=1, validation_loss=2.0)],
    [dict(step=i, loss=2.0 / i) for i in range(1, 50)] + [dict(step=49, validation_loss=0.1)]])
def test_the_picture(tmp_path, entries, pictures):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for entry in entries:
        log.write(**entry)
    log.close()
    assert plot_losses(tmp_path / "metrics.jsonl", tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_without_matplotlib_there_is_no_picture_and_no_error(tmp_path):
    assert not plot_losses(tmp_path / "metrics.jsonl", tmp_path / "loss.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("n", [1, 2, 3, 10, 59, 60, 121, 122, 500])
def test_the_smoothed_curve_is_centred(n):
    """A straight line stays; a mean of what came before would stand above all of it where losses fall."""
    line = [4.0 - 0.005 * step for step in range(n)]
    assert _smoothed(line) == pytest.approx(line, abs=1e-12)
    noisy = [value + (-1) ** step for step, value in enumerate(line)]
    smooth = _smoothed(noisy)
    assert len(smooth) == n and all(min(noisy) <= value <= max(noisy) for value in smooth)
    if n > 250:
        assert max(abs(a - b) for a, b in zip(smooth[65:-65], line[65:-65])) < 0.05
    assert _smoothed(noisy[::-1]) == pytest.approx(smooth[::-1], abs=1e-12)
