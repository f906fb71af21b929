"""Ranks that mpiexec starts, through the command line: the same bits as in one process, and one line when one fails."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fake_nccl
from tinygpt.cli import main
from tinygpt.data.chat_template import add_chat_template
from tinygpt.models import GPT, GPTConfig
from tinygpt.tokenizers import CharTokenizer
from tinygpt.training.run_state import find_state

pytest.importorskip("mpi4py")
MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
pytestmark = [pytest.mark.oracle, pytest.mark.skipif(MPIEXEC is None, reason="no mpiexec")]

RUN = ["--n-layer", "1", "--n-head", "2", "--n-embd", "8", "--block-size", "16", "--batch-size", "4", "--steps", "12",
       "--eval-every", "6", "--save-every", "4", "--dropout", "0.1", "--tokenizer", "char"]
PRETRAIN = ["pretrain", "--data", "text.txt", *RUN]
CLASSIFY = ["finetune", "--task", "classification", "--data", "labels.csv", *RUN]


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder with data, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYGPT_DEVICE", "cpu")
    (tmp_path / "text.txt").write_text(" ".join(f"{i} and {i * i % 17}," for i in range(300)), encoding="utf-8")
    (tmp_path / "labels.csv").write_text("text,label\n" + "".join(
        f"number {i},{'odd' if i % 2 else 'even'}\n" for i in range(40)), encoding="utf-8")
    return tmp_path


def start(*programs: list[str], variables: dict[str, str] | None = None) -> subprocess.Popen:
    """mpiexec with programs, each a number of ranks and arguments of tinygpt; those for the pretend GPU begin with what
    fake_nccl.py is told."""
    words = [word for count, *arguments in programs for word in (
        ":", "-n", count, sys.executable,
        *(["-m", "tinygpt"] if arguments[0].isalpha() and arguments[0] != "none" else [fake_nccl.__file__]),
        *arguments)]
    return subprocess.Popen([str(MPIEXEC), *words[1:]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"} | (variables or {}))


def finished(process: subprocess.Popen) -> tuple[int, str, list[str]]:
    """Exit code, standard output, lines of standard error."""
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err.splitlines()


@pytest.mark.parametrize("command, variables", [
    (PRETRAIN + ["--optimizer", "muon"], {}),
    (CLASSIFY, {"MPIR_CVAR_NOLOCAL": "1", "UCX_TLS": "tcp,self", "FI_PROVIDER": "tcp"}),  # no shared memory
])
def test_two_ranks_are_one_rank_with_two_threads_to_the_bit(place, capsys, command, variables):
    assert main([*command, "--threads", "2", "--out", "one"]) == 0
    code, out, lines = finished(start(["2", *command, "--threads", "1", "--out", "two"], variables=variables))
    assert code == 0, lines
    assert out == capsys.readouterr().out  # the result, once
    assert sum("parameters" in line for line in lines) == 1
    model = Path("one/model.safetensors").read_bytes()
    assert Path("two/model.safetensors").read_bytes() == model
    assert losses("two") == losses("one")  # validations too, which the ranks share
    assert sorted(path.name for path in Path("two").iterdir()) == sorted(path.name for path in Path("one").iterdir())


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_two_ranks_with_a_gpu_each_are_one_with_two_replicas_on_one_gpu(place, capsys, optimizer):
    """On pretend GPUs, over the pretend NCCL."""
    command = [*PRETRAIN, "--optimizer", optimizer, "--device", "fake"]
    assert main([*command, "--threads", "2", "--out", "one"]) == 0
    code, out, lines = finished(start(["2", "2", *command, "--threads", "1", "--out", "two"]))
    assert code == 0, lines
    assert out == capsys.readouterr().out
    assert Path("two/model.safetensors").read_bytes() == Path("one/model.safetensors").read_bytes()


TUNED = {
    "dpo": ["align", "--method", "dpo", "--data", "pairs.jsonl", "--max-new-tokens", "4"],
    "grpo": ["align", "--method", "grpo", "--data", "asked.jsonl", "--reward", "exact,length=-0.1", "--group-size",
             "2", "--max-new-tokens", "3"],
    "reward": ["align", "--method", "reward", "--data", "pairs.jsonl"],
    "instruction": ["finetune", "--task", "instruction", "--data", "chats.jsonl"],
}


@pytest.mark.parametrize("kind", ["dpo", *(pytest.param(kind, marks=pytest.mark.nightly)
                                           for kind in TUNED if kind != "dpo")])
def test_ranks_align_and_instruct(place, capsys, kind):
    """Some of these validations cannot be shared out: then the first rank's figures go to all."""
    tokenizer = add_chat_template(CharTokenizer.train("0123456789? yesno", special_tokens=["</s>", "<pad>"]))
    GPT(GPTConfig(vocab_size=len(tokenizer), block_size=32, n_layer=1, n_head=2, n_embd=8,
                  eos_token_id=tokenizer.eos_token_id)).save_pretrained("model", tokenizer)
    records = {
        "pairs": [{"prompt": f"{i}?", "chosen": "yes", "rejected": "no"} for i in range(20)],
        "asked": [{"prompt": f"{i}?", "answer": str(i)} for i in range(20)],
        "chats": [{"messages": [{"role": "user", "content": f"{i}?"}, {"role": "assistant", "content": f"{i}"}]}
                  for i in range(20)]}
    for name, rows in records.items():
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    command = [*TUNED[kind], "--model", "model", "--batch-size", "4", "--steps", "3", "--validation", "0.4"]
    assert main([*command, "--threads", "2", "--out", "one"]) == 0
    code, out, lines = finished(start(["2", *command, "--threads", "1", "--out", "two"]))
    assert code == 0, lines
    assert out == capsys.readouterr().out
    assert Path("two/model.safetensors").read_bytes() == Path("one/model.safetensors").read_bytes()
    assert losses("two") == losses("one")


def losses(run: str) -> list[float]:
    """The losses and rewards of a run, those of validations among them."""
    entries = [json.loads(line) for line in Path(run, "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [value for entry in entries for name, value in entry.items()
            if "loss" in name or "reward" in name]


def test_a_sum_in_mpis_order_gives_the_same_losses_to_rounding(place):
    """And a run that is resumed, here by one process, keeps the option."""
    assert main([*PRETRAIN, "--threads", "2", "--out", "one"]) == 0
    code, _, lines = finished(start(["2", *PRETRAIN, "--fast-sum", "--threads", "1", "--out", "two"]))
    assert code == 0, lines
    assert losses("two") == pytest.approx(losses("one"), abs=1e-4) and len(losses("two")) == 14
    Path("two/training_state.safetensors").unlink()
    assert find_state(Path("two"))[0].step == 8
    assert main(["pretrain", "--resume", "--out", "two"]) == 0
    assert losses("two") == pytest.approx(losses("one"), abs=0.2)  # one replica has other dropout masks than two
    assert json.loads(Path("two/options.json").read_text())["options"]["fast_sum"] is True


@pytest.mark.nightly
def test_after_a_rank_was_killed_the_run_goes_on_to_the_same_bits(place, capsys):
    command = [*PRETRAIN, "--steps", "60", "--threads", "1"]
    assert main([*command, "--threads", "2", "--out", "one"]) == 0
    process, state = start(["2", *command, "--out", "two"]), Path("two/training_state.previous.safetensors")
    while not state.exists() and process.poll() is None:
        time.sleep(0.01)
    found = [pid for pid in children(process.pid) if b"PMI_RANK=1" in Path(f"/proc/{pid}/environ").read_bytes()]
    if process.poll() is None and found:
        os.kill(found[-1], signal.SIGKILL)
        then = time.monotonic()
        assert finished(process)[0] != 0 and time.monotonic() - then < 30
    code, _, lines = finished(start(["2", "pretrain", "--resume", "--out", "two"]))
    assert code == 0, lines
    assert Path("two/model.safetensors").read_bytes() == Path("one/model.safetensors").read_bytes()


@pytest.mark.nightly
def test_thirty_kills_of_random_ranks_at_random_moments(place):
    """Nothing that was saved is lost, all ranks end within 30 seconds, and what is resumed ends in the same bits."""
    rng, ranks, kills, ended, longest = np.random.default_rng(18), 2, 0, 0, 0.0
    command = [*PRETRAIN, "--steps", "300", "--save-every", "3"]
    assert main([*command, "--threads", str(ranks), "--out", "one"]) == 0
    expected = Path("one/model.safetensors").read_bytes()
    begun = time.monotonic()
    assert finished(start([str(ranks), *command, "--threads", "1", "--out", "alone"]))[0] == 0
    whole = time.monotonic() - begun
    while kills < 30:
        out = Path(f"run{ended}")
        saved = find_state(out) if out.exists() else None
        step = 0 if saved is None else saved[0].step
        more = ["--resume"] if saved is not None else ["--threads", "1"]
        process = start([str(ranks), *(command if saved is None else ["pretrain"]), "--out", str(out), *more])
        until, victim = time.monotonic() + rng.uniform(0.1, 0.9) * whole, None
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        victims = [pid for pid in children(process.pid) if of_rank(pid, int(rng.integers(ranks)))]
        if process.poll() is None and victims:
            victim, then = victims[-1], time.monotonic()
            os.kill(victim, signal.SIGKILL)
        code, _, lines = finished(process)
        if victim is not None and code != 0:
            kills, longest = kills + 1, max(longest, time.monotonic() - then)
            found = find_state(out) if out.exists() else None
            assert (0 if found is None else found[0].step) >= step, "what was saved is lost"
            if found is None:
                shutil.rmtree(out, ignore_errors=True)
            continue
        assert code == 0, lines
        assert (out / "model.safetensors").read_bytes() == expected
        ended += 1
    out = Path(f"run{ended}")
    if out.exists():
        code, _, lines = finished(start([str(ranks), "pretrain", "--resume", "--out", str(out)]))
        assert code == 0 and (out / "model.safetensors").read_bytes() == expected, lines
        ended += 1
    print(f"{kills} kills in {ended} runs, all to the same bits; ranks ended {longest:.1f} s after a kill at most")
    assert longest < 30 and ended > 1


def of_rank(pid: int, rank: int) -> bool:
    """Whether a process is one that mpiexec started as that rank."""
    try:
        return f"PMI_RANK={rank}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """Processes below another one."""
    found = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [(int(line.split()[0]), int(line.split()[1])) for line in found.splitlines()]
    below = {pid}
    for _ in range(5):
        below |= {child for child, parent in pairs if parent in below}
    return sorted(below - {pid})


@pytest.mark.parametrize("programs, message", [
    ([["1", *PRETRAIN, "--out", "x"], ["1", *PRETRAIN, "--out", "x", "--lr", "0.1"]], "rank 1 on .* 0.1: all ranks"),
    ([["5", *PRETRAIN, "--out", "x"]], "5 ranks cannot share a batch of 4"),
    ([["1", *PRETRAIN, "--out", "x"], ["1", *PRETRAIN, "--out", "x", "--nonsense"]], r"--nonsense.*\(rank 1 on "),
    ([["2", "gradcheck"]], "gradcheck runs in one process"),
    ([["2", "data", "--data", "text.txt", "--out", "x"]], "data runs in one process"),
    ([["2", "1", *PRETRAIN, "--device", "fake", "--out", "x"]], "2 ranks need a GPU each there, and there are 1"),
    ([["2", "none", *PRETRAIN, "--device", "fake", "--out", "x"]], "rank 0 on .*: CuPy finds no NCCL"),
    ([["1", "2", *PRETRAIN, "--device", "fake", "--out", "x"], ["1", "2", *PRETRAIN, "--out", "x"]],
     "--device 'fake' and rank 1 on .* None: all ranks"),
])
def test_what_cannot_be_is_said_in_one_line(place, programs, message):
    code, out, lines = finished(start(*programs))
    assert (code, out, len(lines)) == (2, "", 1) and re.search(message, lines[0]), lines
    assert not Path("x").exists()


def test_a_rank_that_cannot_come_ends_the_others(place):
    """MPI waits for it without end, and a timer must run meanwhile."""
    program = ("import sys\nfrom tinygpt.cli import main\nfrom tinygpt.ranks import launch\nlaunch.PATIENCE = 2.0\n"
               "if launch.launched_as()[0]:\n    sys.modules['mpi4py'] = None\nsys.exit(main(sys.argv[1:]))")
    process = subprocess.Popen([str(MPIEXEC), "-n", "2", sys.executable, "-c", program, *PRETRAIN, "--out", "x"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    code, out, lines = finished(process)
    assert (code, out, len(lines)) == (2, "", 1) and "not all 2 ranks have come within 2 seconds" in lines[0], lines


def test_ranks_train_on_folders_of_tokens(place, capsys):
    """A mixture has the bits of one process."""
    assert main(["tokenizer", "train", "--data", "text.txt", "--tokenizer", "char", "--out", "tok"]) == 0
    for name in "ab":
        Path(f"{name}.txt").write_text(Path("text.txt").read_text()[ord(name) - 97::2], encoding="utf-8")
        assert main(["data", "--data", f"{name}.txt", "--tokenizer", "tok", "--processes", "1", "--out", name]) == 0
    command = ["pretrain", "--data", "a:0.7", "b:0.3", *RUN[:-2]]
    assert main([*command, "--threads", "2", "--out", "one"]) == 0
    code, _, lines = finished(start(["2", *command, "--threads", "1", "--out", "two"]))
    assert code == 0, lines
    assert Path("two/model.safetensors").read_bytes() == Path("one/model.safetensors").read_bytes()
