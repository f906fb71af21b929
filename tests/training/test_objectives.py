"""Objectives: each trains, resumes bit for bit from its state alone, says what it cannot do, and opens elsewhere."""

from __future__ import annotations

import dataclasses
import io
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from tinygpt import load_model, load_tokenizer
from tinygpt.autograd import no_grad
from tinygpt.cli import main
from tinygpt.data.masking import all_masked_windows
from tinygpt.data.pairs import pairs_from_ids, read_pairs, split_pairs
from tinygpt.evaluation.masked_words import masked_words
from tinygpt.models import BERT, BERTConfig, EncoderDecoder, GPTConfig
from tinygpt.models.layout import LAYOUTS
from tinygpt.training import (AlignOptions, FinetuneOptions, PretrainOptions, masked_loss, pretrain, read_metrics,
                              saved_options)
from tinygpt.training.objectives import KINDS, Task, kinds_of

TINY = dict(n_layer=1, n_head=2, n_embd=16, block_size=16, batch_size=6, lr=3e-3, dropout=0.1, steps=8, eval_every=4,
            save_every=2, threads=2, seed=3, vocab_size=300)
CASES = {
    "masked": dict(objective="masked"),
    "masked-bert-char": dict(objective="masked", architecture="bert", tokenizer="char"),
    "seq2seq": dict(objective="seq2seq", validation=0.2),
    "seq2seq-bart-char": dict(objective="seq2seq", architecture="bart", tokenizer="char", block_size=40, accumulate=2),
}
NUMBERS = "zero one two three four five six seven eight nine".split()
NÚMEROS = "cero uno dos tres cuatro cinco seis siete ocho nueve".split()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """objective -> a file to train on: counting in two languages, where some sources have two targets."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    rows = rng.integers(10, size=(120, 3))
    pairs = [(" ".join(NUMBERS[i] for i in row), " ".join(NÚMEROS[i] for i in row)) for row in rows]
    pairs += [(source, f"¡{target}!") for source, target in pairs[:20]]
    (folder / "pairs.tsv").write_text("".join(f"{s}\t{t}\n" for s, t in pairs), encoding="utf-8")
    (folder / "text.txt").write_text(". ".join(s for s, _ in pairs), encoding="utf-8")
    return {"seq2seq": folder / "pairs.tsv", "masked": folder / "text.txt", "causal": folder / "text.txt"}


def options_of(kind: str, files: dict[str, Path], **more) -> PretrainOptions:
    chosen = {**TINY, **CASES.get(kind, dict(objective=kind)), **more}
    return PretrainOptions(**{"data": (str(files.get(chosen["objective"])),), **chosen})


@pytest.fixture(scope="module")
def runs(data: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """kind -> the folder of a finished run, and one with the state as it was after step 4 and nothing else."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        module = __import__("tinygpt.training.run", fromlist=["write_checkpoint"])
        write = module.write_checkpoint
        for kind in CASES:
            whole, half = (tmp_path_factory.mktemp(kind) / name for name in ("whole", "half"))
            half.mkdir()

            def write_and_keep(path, model, optimizer, step, run, best=None, half=half) -> None:
                write(path, model, optimizer, step, run, best)
                if step == 4:
                    shutil.copy(path, half)

            patch.setattr(module, "write_checkpoint", write_and_keep)
            stream = io.StringIO()
            result = pretrain(options_of(kind, data), whole, stream=stream)
            assert result.step == 8 and result.interrupted is None and np.isfinite(result.validation["validation_loss"])
            (whole / "log.txt").write_text(stream.getvalue(), encoding="utf-8")
            found[kind] = whole, half
    return found


@pytest.mark.parametrize("kind", CASES)
def test_resume_bit_for_bit(kind: str, runs) -> None:
    """From the training state alone: without token files, tokenizer or model beside it."""
    whole, half = runs[kind]
    assert pretrain(saved_options(half, PretrainOptions), half, resume=True, stream=io.StringIO()).step == 8
    for name in ("model.safetensors", "config.json", "tokenizer.json", "sample.txt", "training_state.safetensors",
                 "tokens/train.npy", "tokens/validation.npy"):
        assert (half / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.parametrize("kind", CASES)
def test_what_a_run_leaves(kind: str, runs) -> None:
    whole, _ = runs[kind]
    model, tokenizer = load_model(whole), load_tokenizer(whole)
    assert model.config.architecture == CASES[kind].get("architecture", KINDS[CASES[kind]["objective"]].layouts[0])
    assert model.config.vocab_size == len(tokenizer) and model.config.pad_token_id == tokenizer.pad_token_id
    assert isinstance(model, BERT if "masked" in kind else EncoderDecoder)
    validations = [line for line in read_metrics(whole / "metrics.jsonl") if "validation_loss" in line]
    assert [line["step"] for line in validations] == [4, 8]
    log = (whole / "log.txt").read_text(encoding="utf-8")
    if "masked" in kind:
        assert "masked accuracy 0." in log and "most frequent token 0." in log and "right)" in log
        assert tokenizer.encode("one")[0] == tokenizer.token_id("<s>") and tokenizer.encode("one")[-1] == \
            tokenizer.token_id("</s>")
    else:
        assert log.count("-> ") == 3 + 10 and "training and" in log and "pairs" in log
        assert tokenizer.encode("one")[-1] == tokenizer.eos_token_id == model.config.eos_token_id


def test_special_tokens_of_a_new_bpe_come_first(runs) -> None:
    roberta = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4}
    assert load_tokenizer(runs["masked"][0]).special_tokens == roberta
    assert load_tokenizer(runs["seq2seq"][0]).special_tokens == {"</s>": 0, "<pad>": 1}
    model = load_model(runs["masked"][0])
    assert model.positions.weight.shape == (16 + 2, 16)


def test_pairs_on_disk_are_those_of_the_file(runs, data) -> None:
    """Every pair is in one of the two token files, whole, and no source in both."""
    whole, _ = runs["seq2seq"]
    tokenizer = load_tokenizer(whole)
    parts = []
    for part in ("train", "validation"):
        pairs = pairs_from_ids(np.load(whole / "tokens" / f"{part}.npy"), tokenizer.eos_token_id)
        parts.append([tuple(tokenizer.decode(side, skip_special_tokens=True) for side in pair) for pair in pairs])
    assert tuple(parts) == split_pairs(read_pairs(data["seq2seq"]), 0.2, seed=3)
    assert not {source for source, _ in parts[0]} & {source for source, _ in parts[1]}


def test_each_learns(data, tmp_path) -> None:
    """What can be known is found out: hidden digits of a counting text, and a word for a word."""
    text = tmp_path / "count.txt"
    text.write_text(" ".join(NUMBERS * 60), encoding="utf-8")
    common = dict(n_layer=1, n_head=2, n_embd=32, block_size=14, batch_size=16, eval_every=1000, dropout=0.0,
                  vocab_size=300, threads=1)
    found = pretrain(options_of("masked", data, **{**common, "data": (str(text),), "steps": 300, "lr": 3e-3}),
                     tmp_path / "masked", stream=io.StringIO()).validation
    assert found["masked_accuracy"] > 0.7 and found["most_frequent_token"] < 0.25
    found = pretrain(options_of("seq2seq", data, **{**common, "steps": 150, "lr": 5e-3}), tmp_path / "seq2seq",
                     stream=io.StringIO()).validation
    assert found["validation_loss"] < 1.0  # 1.9 where the source is not looked at: three words out of ten, and "¡"


def test_masked_words_counts(runs) -> None:
    """Against a model that always answers one token, and against a count by hand."""
    rng = np.random.default_rng(0)
    options = options_of("masked", {"masked": Path("x")})
    objective = options.row.objective(options)
    objective.use(load_tokenizer(runs["masked"][0]))
    ids = rng.integers(5, 12, 400)
    batches = list(all_masked_windows(ids, 16, 4, objective.masking))
    model = BERT.for_masked_lm(BERTConfig(vocab_size=300, block_size=16, n_layer=1, n_head=2, n_embd=8,
                                          architecture="roberta"))
    hidden = np.concatenate([batch["targets"][batch["targets"] >= 0] for batch in batches])
    model.lm_head.bias.data[9] = 100.0
    found = masked_words(model, batches)
    assert found.n_tokens == len(hidden) and found.accuracy == (hidden == 9).mean()
    assert found.most_frequent == np.bincount(hidden).max() / len(hidden)
    model.lm_head.bias.data[9] = 0.0
    with no_grad():
        total = sum(float(masked_loss(model.eval(), batch)) for batch in batches)
    assert masked_words(model, batches).loss == pytest.approx(total / len(hidden), rel=1e-5)


@pytest.mark.parametrize("positions", [None, "alibi"])
def test_positions_reach_the_model_only_if_they_are_given(positions, data, monkeypatch) -> None:
    """The layout chooses otherwise."""
    asked = {}
    monkeypatch.setattr("tinygpt.training.objectives.causal.GPTConfig", lambda **fields: asked.update(fields))
    monkeypatch.setattr("tinygpt.training.objectives.causal.GPT", lambda config: config)
    options = options_of("causal", data, positions=positions)
    objective = options.row.objective(options)
    objective.use(objective.train_characters(["one two"]))
    objective.new_model()
    assert asked["architecture"] == "gpt2" and asked.get("positions", "the layout's") == (positions or "the layout's")


def test_pairs_that_do_not_fit_are_counted(data, tmp_path) -> None:
    path = tmp_path / "long.tsv"
    path.write_text(data["seq2seq"].read_text(encoding="utf-8") + "one " * 40 + "\tuno\n", encoding="utf-8")
    options = options_of("seq2seq", data, data=(str(path),), steps=1, validation=0.01)
    with pytest.warns(UserWarning, match="the training pairs: left out 1 of .* longer than block_size 16") as record:
        pretrain(options, tmp_path / "out", stream=io.StringIO())
    assert len(record) == 1


@pytest.mark.parametrize("change, about", [
    (dict(objective="masked", architecture="gpt2"), "masked trains the architectures roberta and bert, not 'gpt2'"),
    (dict(objective="causal", architecture="bart"),
     f"causal trains the architectures {' and '.join(GPTConfig.ARCHITECTURES)} and lstm and gru and rnn, not 'bart'"),
    (dict(objective="guess"), "objective must be one of causal, masked, seq2seq"),
    (dict(objective="masked", bias=False), "bias is an option of the objective causal"),
    (dict(objective="seq2seq", n_kv_head=1), "n_kv_head is an option of the objective causal"),
    (dict(objective="seq2seq", data=()), "needs pairs"),
    (dict(objective="masked", block_size=2), "leaves no room for text"),
    (dict(objective="masked", block_size=100_000), "needs at least 99998; give more text or a smaller block_size"),
    (dict(objective="seq2seq", block_size=2), "none of .* pairs fits block_size 2"),
    (dict(objective="seq2seq", validation=0.0), r"in \(0, 1\)"),
])
def test_errors(change: dict, about: str, data, tmp_path) -> None:
    with pytest.raises(ValueError, match=about), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pretrain(options_of(change["objective"], data, **change), tmp_path / "out", stream=io.StringIO())
    assert not (tmp_path / "out").exists()


def test_tokenizers_that_do_not_serve(data, tmp_path) -> None:
    from tinygpt.tokenizers import ByteBPE

    tokenizer = ByteBPE.train("one two", vocab_size=260, special_tokens=["</s>", "<pad>"])
    tokenizer.save(tmp_path / "plain")
    for objective, about in (("masked", "needs a tokenizer with a mask token, which .*plain lacks"),
                             ("seq2seq", "closes every text with its end-of-text token")):
        with pytest.raises(ValueError, match=about):
            pretrain(options_of(objective, data, tokenizer=str(tmp_path / "plain")), tmp_path / "out")
    tokenizer.set_template([], ["</s>"])
    tokenizer.save(tmp_path / "closing")
    options = options_of("seq2seq", data, tokenizer=str(tmp_path / "closing"), steps=1, block_size=40)
    assert pretrain(options, tmp_path / "out", stream=io.StringIO()).step == 1


def test_command_line(data, tmp_path, capsys) -> None:
    sizes = ["--n-layer", "1", "--n-head", "2", "--n-embd", "16", "--block-size", "16", "--vocab-size", "280",
             "--steps", "2", "--batch-size", "4"]
    for objective in kinds_of("pretrain"):
        out = tmp_path / objective
        assert main(["pretrain", "--data", str(data[objective]), "--objective", objective, "--out", str(out),
                     *sizes]) == 0
        assert capsys.readouterr().out.startswith("validation loss ")
        assert main(["pretrain", "--resume", "--out", str(out)]) == 0
        capsys.readouterr()
    assert main(["pretrain", "--objective", "masked", "--architecture", "llama", "--out", str(tmp_path / "x")]) == 2
    assert "masked trains the architectures roberta and bert" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------------------------
# The table of kinds


@pytest.mark.parametrize("kind", kinds_of("align"))
def test_a_row_of_what_is_preferred(kind: str) -> None:
    row = KINDS[kind]
    names = {field.name for field in dataclasses.fields(AlignOptions)}
    assert set(row.own_options) <= names and issubclass(row.objective, Task) and not row.layouts and not row.new
    options = AlignOptions(method=kind, model="m", data=("x",), **({"reward": "exact"} if kind == "grpo" else {}))
    assert options.row is row and options.loss == next(iter(row.losses), None)
    assert kind in _choices(AlignOptions, "method") and row.learns in _help(AlignOptions, "method")
    assert set(row.losses) <= set(_choices(AlignOptions, "loss"))


@pytest.mark.parametrize("kind", [kind for kind, row in KINDS.items() if row.command != "align"])
def test_a_row_holds_all_that_options_are_made_from(kind: str) -> None:
    row = KINDS[kind]
    options_class = {"pretrain": PretrainOptions, "finetune": FinetuneOptions}[row.command]
    names = {field.name for field in dataclasses.fields(options_class)}
    assert set(row.new) == {"n_layer", "n_head", "n_embd", "block_size", "dropout"}
    assert set(row.own_options) <= names and issubclass(row.objective, Task) == (row.command == "finetune")
    what = "objective" if row.command == "pretrain" else "task"
    options = options_class(**{what: kind}, data=("x",))
    assert options.row is row and options.architecture == row.layouts[0]
    sizes = row.sizes(options.architecture)
    assert {name: getattr(options, name) for name in sizes} == sizes
    for layout in row.layouts:
        if layout in LAYOUTS:
            assert LAYOUTS[layout].norm_first == row.pre_norm  # they are of one sort: the learning rate tells
        assert (layout in LAYOUTS) != (layout in row.others)
        assert layout in _choices(options_class, "architecture")
    assert kind in _choices(options_class, what) and row.learns in _help(options_class, what)


def _choices(options_class, name: str):
    return next(field for field in dataclasses.fields(options_class) if field.name == name).metadata["choices"]


def _help(options_class, name: str) -> str:
    return options_class.described(next(field for field in dataclasses.fields(options_class) if field.name == name))


def test_a_default_that_depends_on_the_kind_is_told_for_each() -> None:
    assert _help(PretrainOptions, "n_layer").endswith("in each half [4]")
    assert _help(FinetuneOptions, "n_layer").endswith("[classification, translation 2; instruction 4]")
    assert _help(FinetuneOptions, "architecture") == \
        "the layout of a new model [classification wide; instruction gpt2; translation marian]"
    assert _help(PretrainOptions, "steps") == "training steps [1600]"


def test_options_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="add_prefix_space is an option of the task classification, not of instruct"):
        FinetuneOptions(task="instruction", data=("x",), add_prefix_space=True)
    with pytest.raises(ValueError, match="positions is an option of the objective causal, not of seq2seq"):
        PretrainOptions(objective="seq2seq", positions="rotary")


def test_the_default_architecture_is_the_first_that_has_what_is_given() -> None:
    def chosen(**given):
        return FinetuneOptions(data=("x",), **given)
    assert chosen().architecture == "wide" and chosen().tokenizer == "words" and chosen().n_layer is None
    assert chosen(n_layer=1).architecture == "roberta" and chosen(n_layer=1).tokenizer == "bpe"
    assert chosen(vocab_size=500).architecture == chosen(activation="relu").architecture == "roberta"
    assert chosen(dropout=0.2).architecture == "wide" and chosen(tokenizer="char").architecture == "wide"
    assert chosen(architecture="bag").dropout == 0.0
    with pytest.raises(ValueError, match="n_layer is no option of the architecture cnn; it has tokenizer, n_embd"):
        chosen(architecture="cnn", n_layer=2)
    recurrent = PretrainOptions(architecture="lstm", n_layer=1)
    assert (recurrent.n_layer, recurrent.n_head, recurrent.tokenizer) == (1, None, "bpe")
    for given in (dict(n_head=4), dict(positions="rotary"), dict(bias=False)):
        with pytest.raises(ValueError, match=f"{next(iter(given))} is no option of the architecture gru"):
            PretrainOptions(architecture="gru", **given)
    for options in (chosen(), recurrent):  # and what was resolved is read again
        assert type(options).from_saved(dataclasses.asdict(options)) == options


def test_a_lowest_learning_rate_does_not_need_a_highest() -> None:
    assert FinetuneOptions(data=("x",), min_lr=1e-5).lr is None
    with pytest.raises(ValueError, match="min_lr 0.1 is more than lr 0.01"):
        FinetuneOptions(data=("x",), min_lr=0.1, lr=0.01)


# ---------------------------------------------------------------------------------------------------------------------
# Opened by transformers


@pytest.mark.oracle
@pytest.mark.parametrize("kind", [kind for kind in CASES if kind.startswith("masked")])
def test_masked_opens_in_transformers(kind: str, runs) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    folder, _ = runs[kind]
    ours, tokenizer = load_model(folder), load_tokenizer(folder)
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(folder).eval()
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = ["one<mask> three", "nine eight<mask>"]
    ids = [tokenizer.encode(text, allowed_special=["<mask>"]) for text in texts]
    assert [their_tokenizer(text)["input_ids"] for text in texts] == ids
    assert (their_tokenizer.mask_token_id, their_tokenizer.pad_token_id) == (
        tokenizer.mask_token_id, tokenizer.pad_token_id)
    batch = their_tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = theirs(**batch).logits.numpy()
    mask = batch["attention_mask"].numpy()
    logits = ours(batch["input_ids"].numpy(), attention_mask=mask).data
    np.testing.assert_allclose(logits[mask == 1], expected[mask == 1], rtol=0, atol=1e-4)


@pytest.mark.oracle
@pytest.mark.parametrize("kind", [kind for kind in CASES if kind.startswith("seq2seq")])
def test_seq2seq_opens_in_transformers(kind: str, runs) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    folder, _ = runs[kind]
    ours, tokenizer = load_model(folder), load_tokenizer(folder)
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = ["one two three", "nine"]
    batch = their_tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=False)
    ids, mask = batch["input_ids"].numpy(), batch["attention_mask"].numpy()
    assert [row[kept == 1].tolist() for row, kept in zip(ids, mask)] == tokenizer.encode_batch(texts)
    start = np.array([[ours.config.decoder_start_token_id, 7, 9]] * 2)
    with torch.no_grad():
        expected = theirs(**batch, decoder_input_ids=torch.tensor(start)).logits.numpy()
        for num_beams in (1, 3):
            options = dict(max_new_tokens=10, num_beams=num_beams)
            written = theirs.generate(**batch, **options, do_sample=False).numpy()
            assert ours.generate(ids, attention_mask=mask, **options).tolist() == written.tolist()
    np.testing.assert_allclose(ours(ids, start, attention_mask=mask).data, expected, rtol=0, atol=1e-4)
