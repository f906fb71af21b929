"""`tinygpt align` as a shell sees it, and the commands that go on with what it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import command, error_line

import tinygpt
from tinygpt.data.chat_template import add_chat_template
from tinygpt.models import BERT, GPT, BERTConfig, EncoderDecoder, EncoderDecoderConfig, GPTConfig
from tinygpt.tokenizers import CharTokenizer

RUN = ["--batch-size", "4", "--threads", "1", "--steps", "2", "--validation", "0.2"]
SIZES = dict(block_size=32, n_layer=1, n_head=2, n_embd=8)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models and data."""
    folder = tmp_path_factory.mktemp("align")
    tokenizer = add_chat_template(CharTokenizer.train("0123456789? yesno", special_tokens=["</s>", "<pad>"]))
    sizes = dict(SIZES, vocab_size=len(tokenizer))
    tinygpt.manual_seed(0)
    GPT(GPTConfig(**sizes, eos_token_id=tokenizer.eos_token_id)).save_pretrained(folder / "model", tokenizer)
    EncoderDecoder(EncoderDecoderConfig(**sizes)).save_pretrained(folder / "translator", tokenizer)
    BERT(BERTConfig(**sizes)).save_pretrained(folder / "encoder", tokenizer)
    pairs = [{"prompt": f"{i}?", "chosen": "yes", "rejected": "no"} for i in range(20)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
    bad = {"one": {"prompt": "3?", "chosen": "yes"}, "empty": {"prompt": "3?", "chosen": "yes", "rejected": ""},
           "same": {"prompt": "3?", "chosen": "yes", "rejected": "yes"},
           "long": {"prompt": "3?", "chosen": "yes" * 30, "rejected": "no"}}
    for name, record in bad.items():
        (folder / f"{name}.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
        (folder / f"with-{name}.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in [*pairs, record]),
                                                   encoding="utf-8")
    asked = [{"prompt": f"{i}?", "answer": str(i)} for i in range(20)]
    (folder / "asked.jsonl").write_text("".join(json.dumps(record) + "\n" for record in asked), encoding="utf-8")
    (folder / "unanswered.jsonl").write_text('{"prompt": "3?"}\n{"prompt": "4?"}\n', encoding="utf-8")
    return folder


def test_from_pairs_to_a_judge_a_policy_and_their_figures(place: Path, capsys) -> None:
    pairs = ["--data", place / "pairs.jsonl"]
    done = command(capsys, "align", "--method", "reward", "--model", place / "model", *pairs, "--out", place / "judge",
                   *RUN)
    assert done.code == 0 and done.out.startswith("validation accuracy ") and done.out.count("\n") == 1
    done = command(capsys, "align", "--method", "dpo", "--model", place / "model", *pairs, "--out", place / "policy",
                   "--max-new-tokens", 4, "--lora", 2, *RUN)
    assert done.code == 0 and "before: validation loss 0.6931  accuracy 0.5000  margin 0.0000  kl 0.0000" in done.err
    assert command(capsys, "align", "--resume", "--out", place / "policy").out == done.out
    for model, more in (("judge", []), ("policy", ["--reference", place / "model"])):
        done = command(capsys, "evaluate", "--model", place / model, *pairs, "--task", "preference", "--json", *more)
        found = json.loads(done.out.splitlines()[-1])
        assert 0 <= found["accuracy"] <= 1 and found["n_pairs"] == 20
    done = command(capsys, "evaluate", "--model", place / "judge", *pairs, "--limit", 3)
    assert done.code == 0 and done.out.startswith("accuracy ")  # the task follows the model
    done = command(capsys, "evaluate", "--task", "win-rate", "--model", place / "policy", "--against", place / "model",
                   "--reward-model", place / "judge", *pairs, "--max-new-tokens", 4, "--best-of", 2, "--json")
    found = json.loads(done.out)
    assert found["win_rate_interval"][0] <= found["win_rate"] <= found["win_rate_interval"][1]
    assert found["best_of"] == 2 and found["n_questions"] == 20


def test_from_questions_to_a_reward(place: Path, capsys, pictures) -> None:
    done = command(capsys, "align", "--method", "grpo", "--model", place / "model", "--data", place / "asked.jsonl",
                   "--reward", "exact,length=-0.1", "--group-size", 2, "--max-new-tokens", 3, "--out", place / "grpo",
                   *RUN)
    assert done.code == 0 and done.out.startswith("validation reward ")
    assert "reward exact " in done.err and "entropy " in done.err and " answers/s" in done.err
    assert (place / "grpo" / "figures.png").is_file()


@pytest.mark.parametrize("arguments, about", [
    ([], "--method is missing: reward, dpo, grpo"), (["--method", "ppo"], "--method"),
    (["--method", "dpo"], "needs a model to start from"),
    (["--method", "dpo", "--model", "{}/model"], "needs examples"),
    (["--method", "dpo", "--model", "nowhere", "--data", "{}/pairs.jsonl"], "nowhere"),
    (["--method", "dpo", "--model", "{}/model", "--data", "nowhere.jsonl"], "nowhere.jsonl"),
    (["--method", "dpo", "--model", "{}/model", "--data", "{}/with-one.jsonl"], "line 21: no 'rejected'"),
    (["--method", "dpo", "--model", "{}/model", "--data", "{}/with-empty.jsonl"], "line 21: 'rejected' is empty"),
    (["--method", "reward", "--model", "{}/model", "--data", "{}/same.jsonl"],
     "line 1: chosen and rejected are the same"),
    (["--method", "dpo", "--model", "{}/encoder", "--data", "{}/pairs.jsonl"], "needs a decoder that writes texts"),
    (["--method", "reward", "--model", "{}/translator", "--data", "{}/pairs.jsonl"], "needs an encoder or a decoder"),
    (["--method", "grpo", "--model", "{}/model", "--data", "{}/asked.jsonl"], "grpo needs a reward"),
    (["--method", "grpo", "--model", "{}/model", "--data", "{}/asked.jsonl", "--reward", "os.system"], "no reward"),
    (["--method", "grpo", "--model", "{}/model", "--data", "{}/unanswered.jsonl", "--reward", "exact"],
     "line 1: the reward exact needs an expected answer"),
    (["--method", "dpo", "--model", "{}/model", "--data", "{}/pairs.jsonl", "--reference", "{}/encoder"],
     "must be a decoder with a vocabulary of"),
    (["--method", "reward", "--model", "{}/model", "--data", "{}/pairs.jsonl", "--beta", "1"],
     "an option of the method"),
])
def test_bad_input_is_one_line(place: Path, tmp_path: Path, capsys, arguments, about) -> None:
    given = [argument.replace("{}", str(place)) for argument in arguments]
    assert about in error_line(command(capsys, "align", *given, "--out", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name, about", [
    ("with-same", "left out 1 of 21 pairs, whose chosen and rejected are the same"),
    ("with-long", "longer than the context of 32 tokens: the first is")])
def test_pairs_that_are_left_out_are_told_with_their_line(place: Path, tmp_path: Path, capsys, name, about) -> None:
    done = command(capsys, "align", "--method", "reward", "--model", place / "model", "--data", place / f"{name}.jsonl",
                   "--out", tmp_path / "out", *RUN)
    assert done.code == 0 and about in done.err and "line 21" in done.err


@pytest.mark.parametrize("arguments, about", [
    (["--task", "win-rate", "--model", "{}/model"], "needs a judge"),
    (["--task", "win-rate", "--model", "{}/model", "--reward-model", "{}/model"], "needs another model"),
    (["--task", "win-rate", "--model", "{}/model", "--reward-model", "{}/model", "--best-of", "2"], "one label"),
    (["--task", "preference", "--model", "{}/encoder"], "needs a decoder or a reward model"),
    (["--task", "preference", "--model", "{}/model", "--reference", "{}/encoder"], "must hold a decoder")])
def test_what_cannot_be_measured(place: Path, capsys, arguments, about) -> None:
    given = [argument.replace("{}", str(place)) for argument in arguments]
    assert about in error_line(command(capsys, "evaluate", *given, "--data", place / "pairs.jsonl"))
