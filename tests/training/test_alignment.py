"""Alignment: runs of every method learn, resume bit for bit, keep their reference, and open elsewhere."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import tinygpt
from tinygpt import load_model, load_tokenizer
from tinygpt.data.chat_template import add_chat_template
from tinygpt.data.preferences import Turns, pair_batch
from tinygpt.data.synthetic import instructions, preferences
from tinygpt.evaluation.preferences import accuracy_of, is_reward_model
from tinygpt.models import ADAPTER, BERT, GPT, BERTConfig, GPTConfig
from tinygpt.testing import check_model, taylor_test
from tinygpt.tokenizers import CharTokenizer
from tinygpt.training import AlignOptions, align, read_metrics, saved_options
from tinygpt.training.objectives import DPO, GRPO, RewardModel
from tinygpt.training.objectives.grpo import _held
from alignment_bugs import objective, pairs_batch, policy, policy_batch

SIZES = dict(block_size=96, n_layer=1, n_head=2, n_embd=16)
RUN = dict(steps=8, eval_every=2, save_every=2, batch_size=4, threads=1, seed=3, validation=0.2, patience=0,
           max_new_tokens=6)
KINDS = {
    "reward": dict(method="reward"), "reward-encoder": dict(method="reward", model="encoder"),
    "reward-lora": dict(method="reward", lora=2), "dpo": dict(), "dpo-lora": dict(lora=2, label_smoothing=0.1),
    "dpo-plain": dict(model="plain", dropout=0.1, threads=2, loss="ipo"), "simpo": dict(loss="simpo"),
    "dpo-other": dict(reference="other"),
    "grpo": dict(method="grpo", reward="length", group_size=4, threads=2),
    "grpo-updates": dict(method="grpo", reward="exact,length=0.1", group_size=2, updates=3),
    "grpo-lora": dict(method="grpo", reward="length", group_size=2, lora=2, loss="reinforce"),
    "grpo-judge": dict(method="grpo", reward="judge", group_size=2, beta=0.0),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, and models with a chat template and without."""
    folder = tmp_path_factory.mktemp("align")
    (folder / "pairs.jsonl").write_text("".join(json.dumps(r) + "\n" for r in preferences(40)), encoding="utf-8")
    (folder / "asked.jsonl").write_text("".join(json.dumps(
        {"prompt": f"{r['instruction']} {r['input']}", "answer": r["output"]}) + "\n" for r in instructions(40)),
        encoding="utf-8")
    characters = {c for r in (*preferences(400), *instructions(400)) for text in r.values() for c in text}
    chat = add_chat_template(CharTokenizer(sorted(characters)))
    plain = CharTokenizer.train(["".join(sorted(characters))], special_tokens=["<s>", "</s>"])
    for number, name in enumerate(("chat", "other", "plain", "judge")):
        tinygpt.manual_seed(number)
        tokenizer = plain if name == "plain" else chat
        more = dict(head="classification", n_labels=1, pad_token_id=tokenizer.token_id("<|end|>")) \
            if name == "judge" else {}
        GPT(GPTConfig(vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, **SIZES, **more)).save_pretrained(
            folder / name, tokenizer)
    tinygpt.manual_seed(9)
    encoder = CharTokenizer.train(["".join(sorted(characters))], special_tokens=["<s>", "</s>", "<pad>"])
    encoder.set_template(("<s>",), ("</s>",))
    BERT(BERTConfig(vocab_size=len(encoder), pad_token_id=2, **SIZES)).save_pretrained(folder / "encoder", encoder)
    return folder


def options_of(kind: str, place: Path, **more) -> AlignOptions:
    said = {"method": "dpo", "model": "chat", **KINDS[kind], **more}
    data = place / ("asked.jsonl" if said["method"] == "grpo" else "pairs.jsonl")
    for name in ("model", "reference", "reward"):
        if said.get(name) in ("chat", "other", "plain", "encoder", "judge"):
            said[name] = str(place / said[name])
    run = {name: value for name, value in RUN.items() if said["method"] != "reward" or name != "max_new_tokens"}
    return AlignOptions(**{**run, "data": (str(data),), **said})


@pytest.fixture(scope="module")
def runs(place, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path, str]]:
    """kind -> the folder of a finished run, one with the state as it was after step 4 alone, and what was told."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        module = __import__("tinygpt.training.run", fromlist=["write_checkpoint"])
        write = module.write_checkpoint
        for kind in KINDS:
            whole, half = (tmp_path_factory.mktemp(kind) / name for name in ("whole", "half"))
            half.mkdir()

            def write_and_keep(path, model, optimizer, step, run, best=None, half=half) -> None:
                write(path, model, optimizer, step, run, best)
                if step == 4:
                    shutil.copy(path, half)

            patch.setattr(module, "write_checkpoint", write_and_keep)
            stream = io.StringIO()
            result = align(options_of(kind, place), whole, stream=stream)
            assert result.step == result.steps == 8 and result.interrupted is None
            found[kind] = whole, half, stream.getvalue()
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_resume_bit_for_bit(kind, runs) -> None:
    whole, half, _ = runs[kind]
    align(saved_options(half, AlignOptions), half, resume=True, stream=io.StringIO())
    names = {path.relative_to(whole) for path in whole.rglob("*") if path.is_file()} - {
        Path("metrics.jsonl"), Path("options.json"), Path("training_state.previous.safetensors")}
    assert Path("training_state.safetensors") in names
    for name in names - {Path(ADAPTER)}:
        assert (half / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_run_leaves(kind, runs) -> None:
    whole, _, told = runs[kind]
    model, saved = load_model(whole), json.loads((whole / "validation.json").read_text(encoding="utf-8"))
    steps = [line for line in read_metrics(whole / "metrics.jsonl") if "loss" in line]
    validations = [line for line in read_metrics(whole / "metrics.jsonl") if "loss" not in line]
    assert len(steps) == 8 and [line["step"] for line in validations] == [0, 2, 4, 6, 8]
    assert load_tokenizer(whole).ids
    if kind.startswith("reward"):
        assert is_reward_model(model) and saved["n_pairs"] > 0
        assert all("margin" in line and "accuracy" in line for line in validations)
    elif kind.startswith("grpo"):
        wanted = {"reward", "length", "entropy"} | ({"kl"} if kind != "grpo-judge" else set())
        wanted |= {"reward_exact", "reward_length"} if kind == "grpo-updates" else set()
        assert all(wanted <= line.keys() for line in steps) and "answers/s" in told and "held_out_reward" in saved
    else:
        assert all("kl" in line for line in validations) and validations[0]["kl"] == pytest.approx(0, abs=1e-3) \
            or kind == "dpo-other"
        sample = (whole / "sample.txt").read_text(encoding="utf-8")
        assert sample.count("before:") == sample.count("after:") == len(sample.split("data:")) - 1 > 0


@pytest.mark.parametrize("kind", ["reward", "dpo"])
def test_a_validation_looks_at_some_of_many_pairs_and_the_last_one_at_all(kind, place, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tinygpt.training.objectives.preference.BATCH", 2)
    monkeypatch.setattr("tinygpt.training.objectives.preference.N_BATCHES", 2)
    seen = []
    monkeypatch.setattr("tinygpt.training.objectives.preference.accuracy_of",
                        lambda margins: seen.append(len(margins)) or accuracy_of(margins))
    align(options_of(kind, place, steps=2), tmp_path, stream=io.StringIO())
    first = next(read_metrics(tmp_path / "metrics.jsonl"))
    saved = json.loads((tmp_path / "validation.json").read_text(encoding="utf-8"))
    assert set(seen[:-1]) == {4} and seen[-1] == saved["n_pairs"] > 5
    assert kind == "reward" or first["margin"] == 0  # the pairs have their own reference's numbers


@pytest.mark.parametrize("kind", ["dpo", "dpo-lora", "dpo-plain"])
def test_before_the_first_step_nothing_is_preferred(kind, runs) -> None:
    """The reference is the model itself, to the last bit."""
    first = next(read_metrics(runs[kind][0] / "metrics.jsonl"))
    assert first["margin"] == 0 and first["accuracy"] == 0.5


def test_steps_with_the_same_answers_move_away_from_who_wrote_them(runs) -> None:
    rewards = [line["reward"] for line in read_metrics(runs["grpo-updates"][0] / "metrics.jsonl") if "loss" in line]
    assert rewards[0] == rewards[1] == rewards[2] != rewards[3] == rewards[4] == rewards[5] != rewards[6]


@pytest.mark.parametrize("kind", ["dpo-lora", "dpo", "grpo-lora"])
def test_the_folder_it_began_with_may_be_gone(kind, place, tmp_path) -> None:
    shutil.copytree(place / "chat", tmp_path / "base")
    options = options_of(kind, place, model=str(tmp_path / "base"), steps=1)
    first = align(options, tmp_path / "out", stream=io.StringIO())
    shutil.rmtree(tmp_path / "base")
    assert align(saved_options(tmp_path / "out", AlignOptions), tmp_path / "out", resume=True,
                 stream=io.StringIO()) == first


def _stopped(tmp_path: Path, place: Path, **more) -> Path:
    """The folder of a run with one step to go."""
    align(options_of("grpo", place, steps=2, save_every=1, eval_every=2, threads=1, **more), tmp_path / "out",
          stream=io.StringIO())
    state = tmp_path / "out" / "training_state.safetensors"
    shutil.move(tmp_path / "out" / "training_state.previous.safetensors", state)
    return tmp_path / "out"


def test_another_reference_or_judge_than_the_run_began_with_is_refused(place, tmp_path) -> None:
    for name in ("other", "judge"):
        shutil.copytree(place / name, tmp_path / name)
    out = _stopped(tmp_path, place, reference=str(tmp_path / "other"), reward=str(tmp_path / "judge"))
    shutil.copytree(place / "chat", tmp_path / "other", dirs_exist_ok=True)
    with pytest.raises(ValueError, match="the reference .* is not the model any more that this run began with"):
        align(saved_options(out, AlignOptions), out, resume=True, stream=io.StringIO())
    tinygpt.manual_seed(77)
    tokenizer = load_tokenizer(tmp_path / "judge")
    GPT(load_model(tmp_path / "judge").config).save_pretrained(tmp_path / "judge", tokenizer)
    with pytest.raises(ValueError, match="the reward .* is not the model any more that this run began with"):
        align(saved_options(out, AlignOptions), out, resume=True, stream=io.StringIO())


def test_the_answers_of_a_hostile_state_are_checked() -> None:
    config = GPTConfig(vocab_size=5, **SIZES)
    shape = [[1, 2], [3, 4]]
    good = {name: shape for name in ("ids", "targets", "weights", "old", "advantages")}
    assert _held(good, 0, config)["ids"].tolist() == shape
    for bad in (None, [], {"ids": shape}, {**good, "ids": [[1, 2], [3, 5]]}, {**good, "old": [[1.0], [2.0]]},
                {**good, "old": [[1e400, 0], [0, 0]]}, {**good, "ids": "x"}, {**good, "advantages": [0.0, 1.0]}):
        with pytest.raises(ValueError, match="does not hold the answers of batch 0"):
            _held(bad, 0, config)


# ---------------------------------------------------------------------------------------------------------------------
# Learning


def test_a_reward_model_and_dpo_learn_a_plain_preference(place, tmp_path) -> None:
    """Answers that say yes are better than those that say no."""
    rng = np.random.default_rng(0)
    words = ["sun", "tree", "moon", "gate", "leaf"]
    records = [{"prompt": f"{words[i % 5]} {rng.integers(100, 999)}", "chosen": "yes", "rejected": "no"}
               for i in range(60)]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    for method in ("reward", "dpo"):
        options = options_of(method, place, data=(str(path),), steps=60, lr=3e-3, batch_size=8, eval_every=60,
                             save_every=60)
        assert align(options, tmp_path / method, stream=io.StringIO()).validation["accuracy"] == 1.0


def test_grpo_learns_what_is_rewarded(place, tmp_path) -> None:
    options = options_of("grpo", place, reward="length", steps=40, lr=3e-3, group_size=8, eval_every=40,
                         save_every=40, max_new_tokens=12, threads=1)
    result = align(options, tmp_path / "out", stream=io.StringIO())
    lines = [line for line in read_metrics(tmp_path / "out" / "metrics.jsonl") if "loss" in line]
    assert result.validation["held_out_reward"] >= 0.1
    assert np.mean([line["length"] for line in lines[-5:]]) > np.mean([line["length"] for line in lines[:5]]) + 1


# ---------------------------------------------------------------------------------------------------------------------
# Gradients, by check_model


def _checked(model, batch, task, ids: np.ndarray) -> None:
    """What `check_model` looks at wants ids (B, T) and a target for each row that counts."""
    def loss(model, given):
        rows = {name: array for name, array in given.items() if name not in ("ids", "targets")}
        kept = np.asarray(given["targets"]) != -100
        if "advantages" in rows:
            rows = rows | {"ids": rows["answer_ids"], "targets": rows["answer_targets"],
                           "weights": rows["answer_weights"] * kept[:, None]}
        else:
            rows = rows | {"ids": rows["pair_ids"], "targets": given["targets"]}
        return task.data_loss(model, rows), float(kept.sum())

    assert check_model(model, batch | {"ids": ids, "targets": np.zeros(len(ids), int)}, loss=loss,
                       causal=False if model.config.head != "lm" else None)


@pytest.mark.parametrize("loss", ["dpo", "ipo", "simpo"])
def test_gradients_of_dpo(loss) -> None:
    batch = pairs_batch()
    ids = batch["ids"][:, 0]
    given = {name: batch[name] for name in ("labels", "reference")} | {"pair_ids": batch["ids"]}
    _checked(policy(), given, objective(DPO, loss=loss, label_smoothing=0.1 * (loss == "dpo")), ids)


@pytest.mark.parametrize("loss", ["clip", "reinforce"])
def test_gradients_of_grpo(loss) -> None:
    batch = policy_batch()
    ids = batch["ids"]
    given = {f"answer_{name}": batch[name] for name in ("ids", "targets", "weights")}
    _checked(policy(), {name: batch[name] for name in ("advantages", "old", "reference")} | given,
             objective(GRPO, loss=loss), ids)


def test_gradients_of_a_reward_model() -> None:
    batch, model = pairs_batch(), policy(head="classification", n_labels=1)
    task = objective(RewardModel)
    assert taylor_test(lambda: task.data_loss(model, batch), model)


# ---------------------------------------------------------------------------------------------------------------------
# Elsewhere


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["reward", "reward-encoder"])
def test_a_reward_model_opens_in_transformers_with_one_label(kind, runs) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    whole = runs[kind][0]
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(whole).eval()
    assert theirs.config.num_labels == 1
    model, tokenizer = load_model(whole).eval(), load_tokenizer(whole)
    ids = np.concatenate(Turns(tokenizer, encoder=isinstance(model, BERT)).encode(
        [{"role": "user", "content": "Say the word gadu."}], "gadu"))[None]
    with torch.no_grad():
        expected = theirs(torch.tensor(ids)).logits.numpy()
    np.testing.assert_allclose(model(ids).data, expected, atol=1e-4)


@pytest.mark.oracle
@pytest.mark.parametrize("loss", ["dpo", "ipo", "simpo"])
def test_losses_and_gradients_of_pairs_are_those_of_trl_in_pytorch(loss) -> None:
    """TRL's formulas (DPOTrainer.dpo_loss: sigmoid with label smoothing, ipo; CPOTrainer.cpo_loss: simpo), written out
    in PyTorch, whose log-probabilities come from our logits."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    model, batch = policy(), pairs_batch()
    batch["targets"][:] = 0
    task = objective(DPO, loss=loss, label_smoothing=0.15 * (loss == "dpo"))
    o = task.options
    found = task.data_loss(model, batch)
    found.backward()
    n, _, length = batch["ids"].shape
    flat = batch["ids"].reshape(2 * n, length)
    logits = torch.tensor(model(flat[:, :-1]).data, requires_grad=True)
    labels = torch.tensor(batch["labels"].reshape(2 * n, length)[:, 1:])
    mask = labels != -100
    per_token = torch.gather(logits.log_softmax(-1), 2, labels.clamp(min=0)[:, :, None])[:, :, 0]
    log_p = (per_token * mask).sum(-1)
    if loss != "dpo":
        log_p = log_p / mask.sum(-1)
    chosen, rejected = log_p.reshape(n, 2).T
    reference = torch.tensor(batch["reference"])
    if loss == "ipo":
        reference = reference / mask.sum(-1).reshape(n, 2)
    difference = chosen - rejected - (reference[:, 0] - reference[:, 1]) * (loss != "simpo")
    if loss == "dpo":
        each = -F.logsigmoid(o.beta * difference) * (1 - o.label_smoothing) \
            - F.logsigmoid(-o.beta * difference) * o.label_smoothing
    elif loss == "ipo":
        each = (difference - 1 / (2 * o.beta)) ** 2
    else:
        each = -F.logsigmoid(o.beta * (difference - o.gamma / o.beta))
    each.sum().backward()
    assert float(found) == pytest.approx(each.sum().item(), rel=1e-9)
    ours = {name: p.grad for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = None
    model(flat[:, :-1]).backward(logits.grad.numpy())  # the chain rule, from PyTorch's gradient of the logits
    for name, p in model.named_parameters():
        np.testing.assert_allclose(ours[name], p.grad, rtol=1e-6, atol=1e-9, err_msg=name)


# ---------------------------------------------------------------------------------------------------------------------
# Options


@pytest.mark.parametrize("said, about", [
    (dict(model=None), "needs a model to start from"), (dict(data=()), "needs examples"),
    (dict(method="grpo"), "needs a reward"), (dict(method="reward", beta=0.1), "beta is an option of the method dpo"),
    (dict(loss="clip"), "has the losses dpo and ipo and simpo, not 'clip'"), (dict(beta=0.0), "beta must be more than"),
    (dict(method="grpo", reward="exact", group_size=1), "group_size must be from 2"),
    (dict(label_smoothing=0.9), "label_smoothing must be from 0.0 to 0.5"), (dict(lora=2, freeze=1), "two ways"),
    (dict(method="grpo", reward="exact", gamma=1.0), "gamma is an option of the method dpo, not of grpo"),
])
def test_options_that_make_no_sense(said, about) -> None:
    with pytest.raises(ValueError, match=about):
        AlignOptions(**{"model": "somewhere", "data": ("pairs.jsonl",), **said})


def test_defaults_follow_the_loss() -> None:
    given = dict(model="m", data=("d",))
    assert AlignOptions(**given).beta == 0.1 and AlignOptions(**given, loss="simpo").beta == 2.0
    assert AlignOptions(**given, method="grpo", reward="exact").beta == 0.04
    saved = json.loads(json.dumps(dataclasses.asdict(AlignOptions(**given))))
    assert AlignOptions.from_saved(saved) == AlignOptions(**given)
    assert pair_batch([((np.array([1, 2]), np.array([False, True])),) * 2])["labels"].tolist() == [[[-100, 2]] * 2]
