"""Tasks: fine-tuning resumes bit for bit, keeps the best weights, trains what it is told to, and opens elsewhere."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

import tinygpt as tg
from tinygpt import load_model, load_tokenizer
from tinygpt.data import SYNTHETIC
from tinygpt.data.synthetic.sentiment import LABELS, RESERVED, _fours, sentiment
from tinygpt.evaluation import label_logits, label_probabilities
from tinygpt.models import ADAPTER, BERT, GPT, EncoderDecoder
from tinygpt.training import FinetuneOptions, PretrainOptions, finetune, pretrain, read_metrics, saved_options
from tinygpt.training.checkpoint import read_checkpoint
from tinygpt.training.objectives.classification import Labels
from tinygpt.training.objectives.label_layer import teach_label_layer

TINY = dict(n_layer=2, n_head=2, n_embd=16, block_size=24, vocab_size=300)
RUN = dict(steps=8, eval_every=2, save_every=4, batch_size=8, threads=1, seed=3, validation=0.2, patience=0,
           dropout=0.1)
COLOURS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Labelled texts whose label is one of their words, the texts alone, and pairs."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    rows = [(f"the {COLOURS[i % 3]} thing {rng.integers(1000)}", COLOURS[i % 3]) for i in range(90)]
    (folder / "labels.csv").write_text("text,label\n" + "".join(f"{t},{n}\n" for t, n in rows), encoding="utf-8")
    (folder / "text.txt").write_text("\n".join(text for text, _ in rows), encoding="utf-8")
    (folder / "pairs.tsv").write_text("".join(f"{t}\t{n}\n" for t, n in rows), encoding="utf-8")
    return {"labels": folder / "labels.csv", "text": folder / "text.txt", "pairs": folder / "pairs.tsv"}


@pytest.fixture(scope="module")
def bases(files, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each kind of model to begin with."""
    folder = tmp_path_factory.mktemp("bases")
    for objective in ("causal", "masked", "seq2seq"):
        data = str(files["pairs" if objective == "seq2seq" else "text"])
        pretrain(PretrainOptions(objective=objective, data=(data,), steps=4, batch_size=4, threads=1, **TINY),
                 folder / objective, stream=io.StringIO())
    return {path.name: path for path in folder.iterdir()}


KINDS = {  # the base, and what else is said
    "new": (None, dict(**TINY)), "new-space": (None, dict(**TINY, add_prefix_space=True)),
    "new-bert-char": (None, dict(**TINY, architecture="bert", tokenizer="char")),
    "encoder": ("masked", {}), "decoder": ("causal", {}),
    "freeze": ("masked", dict(freeze=1)), "lora": ("masked", dict(lora=2)),
    "lora-decoder": ("causal", dict(lora=1, lora_targets="q,k,v,out,up,down", lora_alpha=1.0)),
    "lora-merged": ("masked", dict(lora=2, merge=True)), "lora-new": (None, dict(lora=2, **TINY)),
    "translation": ("seq2seq", dict(task="translation")), "translation-new": (None, dict(task="translation", **TINY)),
    "translation-lora": ("seq2seq", dict(task="translation", lora=1)),
}


def options_of(kind: str, files, bases, **more) -> FinetuneOptions:
    base, said = KINDS[kind]
    task = said.get("task", "classification")
    data = files["pairs" if task == "translation" else "labels"]
    model = None if base is None else str(bases[base])
    with warnings.catch_warnings():
        return FinetuneOptions(**{**RUN, "task": task, "data": (str(data),), "model": model, **said, **more})


@pytest.fixture(scope="module")
def runs(files, bases, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """kind -> the folder of a finished run, and one with the state as it was after step 4 and nothing else."""
    found = {}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "lora without a model")
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
            result = finetune(options_of(kind, files, bases), whole, stream=io.StringIO())
            assert result.step == result.steps == 8 and result.interrupted is None
            found[kind] = whole, half
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_resume_bit_for_bit(kind: str, runs) -> None:
    """From the training state alone; the model comes from it too."""
    whole, half = runs[kind]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "lora without a model")
        finetune(saved_options(half, FinetuneOptions), half, resume=True, stream=io.StringIO())
    names = {path.relative_to(whole) for path in whole.rglob("*") if path.is_file()} - {
        Path("metrics.jsonl"), Path("options.json")}
    assert Path("training_state.safetensors") in names and Path("tokens/train.npy") in names
    for name in names - ({Path(ADAPTER)} if (half / ADAPTER).exists() else set()):
        assert (half / name).read_bytes() == (whole / name).read_bytes(), name
    if (half / ADAPTER).exists():  # its header names a folder relative to its own
        ours, theirs = load_model(half).state_dict(), load_model(whole).state_dict()
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("kind", ["encoder", "lora", "translation", "instruction"])
def test_the_folder_it_began_with_may_be_gone(kind: str, files, bases, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(bases["causal" if kind == "instruction" else KINDS[kind][0]], base)
    options = options_of("encoder" if kind == "instruction" else kind, files, bases, model=str(base), steps=1)
    if kind == "instruction":
        pairs = tmp_path / "pairs.jsonl"
        pairs.write_text("".join(json.dumps({"instruction": f"say {i}", "input": "", "output": str(i)}) + "\n"
                                 for i in range(10)), encoding="utf-8")
        options = dataclasses.replace(options, task="instruction", data=(str(pairs),), lora=1)
    first = finetune(options, tmp_path / "out", stream=io.StringIO())
    shutil.rmtree(base)
    again = finetune(saved_options(tmp_path / "out", FinetuneOptions), tmp_path / "out", resume=True,
                     stream=io.StringIO())
    assert again == first


@pytest.mark.parametrize("error", [OSError("the Hub cannot be reached"), ImportError("no huggingface_hub")])
def test_the_hub_it_began_with_may_be_out_of_reach(files, bases, tmp_path: Path, monkeypatch, error) -> None:
    """A checkpoint is saved all the same."""
    def unreachable(name):
        raise error

    monkeypatch.setattr("tinygpt.training.objectives.task.resolve_folder", unreachable)
    finetune(options_of("lora", files, bases, steps=1), tmp_path / "out", stream=io.StringIO())
    assert (tmp_path / "out" / ADAPTER).is_file()


def test_a_run_of_another_command_is_refused(runs, bases) -> None:
    with pytest.raises(ValueError, match="`tinygpt finetune --resume` goes on with it, not `tinygpt pretrain`"):
        saved_options(runs["new"][0], PretrainOptions)
    with pytest.raises(ValueError, match="`tinygpt pretrain --resume` goes on with it"):
        saved_options(bases["causal"], FinetuneOptions)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_run_leaves(kind: str, runs, bases) -> None:
    whole, _ = runs[kind]
    base, said = KINDS[kind]
    model, tokenizer = load_model(whole), load_tokenizer(whole)
    assert isinstance(model, EncoderDecoder if "translation" in kind else GPT if "decoder" in kind else BERT)
    if "translation" not in kind:
        assert model.config.id2label == {0: "blue", 1: "green", 2: "red"}
        p = label_probabilities(model, tokenizer, ["the red thing"])
        assert p.shape == (1, 3) and np.allclose(p.sum(), 1)
        assert (kind == "new-space") == (tokenizer.encode("red thing") == tokenizer.encode(" red thing"))
        assert {"validation.txt", "validation.json"} <= {path.name for path in whole.iterdir()}
    validations = [line for line in read_metrics(whole / "metrics.jsonl") if "validation_loss" in line]
    assert [line["step"] for line in validations] == [0, 2, 4, 6, 8]
    adapter = "lora" in said and base is not None and not said.get("merge")
    assert (whole / ADAPTER).exists() == adapter and (whole / "model.safetensors").exists() != adapter


def test_the_best_weights_are_saved(runs, files, bases, tmp_path: Path) -> None:
    """Of a run whose later steps only harm: a learning rate that is far too high."""
    options = options_of("new", files, bases, lr=3.0, warmup_steps=0, clip=1e9)
    result = finetune(options, tmp_path / "out", stream=io.StringIO())
    lines = [line for line in read_metrics(tmp_path / "out/metrics.jsonl") if "validation_loss" in line]
    best = max(lines, key=lambda line: (line["macro_f1"], -line["validation_loss"]))
    assert result.best_step == best["step"] < 8
    assert result.validation["accuracy"] == pytest.approx(best["accuracy"], abs=1e-6)
    assert result.before["validation_loss"] == pytest.approx(lines[0]["validation_loss"], abs=1e-6)
    saved = json.loads((tmp_path / "out/validation.json").read_text(encoding="utf-8"))
    assert saved["accuracy"] == result.validation["accuracy"]


def test_early_stopping(files, bases, tmp_path: Path) -> None:
    stream = io.StringIO()
    options = options_of("new", files, bases, lr=0.0, min_lr=0.0, steps=20, patience=2)  # nothing ever improves
    result = finetune(options, tmp_path / "out", stream=stream)
    assert result.step == 10 and result.best_step == 0  # half of the steps, though patience ended after four
    assert "5 validations without improvement: stopping early; the best was that of step 0" in stream.getvalue()
    again = finetune(saved_options(tmp_path / "out", FinetuneOptions), tmp_path / "out", resume=True,
                     stream=io.StringIO())
    assert again == result


def test_what_is_frozen_stays(runs, bases) -> None:
    before = load_model(bases["masked"]).state_dict()
    for kind, kept in (("freeze", lambda name: not name.startswith("blocks.1.")), ("encoder", lambda name: False)):
        after = read_checkpoint(runs[kind][0] / "training_state.safetensors").weights()  # the last ones
        for name in before.keys() & after.keys():
            same = np.array_equal(before[name], after[name])
            if kept(name):
                assert same, (kind, name)
            elif "bias" not in name:  # a bias may be trained and have no gradient, as that of the keys
                assert not same, (kind, name)


def test_the_head_is_trained_where_the_embedding_is_the_head(bases) -> None:
    from tinygpt.training.objectives.task import freeze

    model = load_model(bases["causal"])
    freeze(model, 1)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {"token_embedding.weight", "norm.weight"} <= trained
    assert "positions.weight" not in trained and not any(name.startswith("blocks.0.") for name in trained)
    model = load_model(bases["seq2seq"])
    freeze(model, 1)
    trained = {name.split(".")[0] + "." + name.split(".")[1] for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"token_embedding.weight", "decoder.blocks", "lm_head.bias"}


def test_lora_is_small_and_adds_up(runs, bases) -> None:
    whole, _ = runs["lora"]
    size = (whole / ADAPTER).stat().st_size
    assert size < (bases["masked"] / "model.safetensors").stat().st_size / 4
    ids = np.arange(5, 15).reshape(2, 5)
    merged = load_model(whole)
    plain = tg.models.load_adapted(whole, merge=False)
    np.testing.assert_allclose(merged(ids).data, plain(ids).data, rtol=0, atol=1e-5)
    assert "classifier.out.weight" in tg.pretrained.SafetensorsFile(whole / ADAPTER)


def test_it_learns(files, bases, tmp_path: Path) -> None:
    result = finetune(options_of("new", files, bases, steps=60, eval_every=20, batch_size=16, lr=8e-3, dropout=0.0),
                      tmp_path / "out", stream=io.StringIO())
    assert result.validation["accuracy"] > 0.9 > 0.5 > result.before["accuracy"]


def test_a_model_that_knows_the_labels_keeps_its_head(runs, files, bases, tmp_path: Path) -> None:
    before = load_model(runs["new"][0])
    options = options_of("encoder", files, bases, model=str(runs["new"][0]), steps=0)
    result = finetune(options, tmp_path / "out", stream=io.StringIO())
    after = load_model(tmp_path / "out")
    assert result.step == 0 and all(np.array_equal(before.state_dict()[n], a) for n, a in after.state_dict().items())


def test_epochs_and_steps(files, bases, tmp_path: Path) -> None:
    """72 texts train in batches of 8: nine steps an epoch."""
    for epochs, steps in ((1, 9), (0.5, 5), (1.5, 14)):
        options = options_of("new", files, bases, steps=None, epochs=epochs, eval_every=100, n_layer=1)
        assert finetune(options, tmp_path / f"{epochs}", stream=io.StringIO()).steps == steps
    assert options_of("new", files, bases, steps=None).steps is None


@pytest.mark.parametrize("change, about", [
    (dict(epochs=2.0), "steps and epochs say the same thing twice"),
    (dict(steps=None, epochs=0.0), "epochs must be more than 0"),
    (dict(lora=1, freeze=1), "two ways to train a part"), (dict(lora=0), "lora must be at least 1"),
    (dict(lora=17), "rank must be from 1 to 16"), (dict(freeze=3), "freeze must be from 0 to 2"),
    (dict(lora=1, lora_targets="q,head"), "no target 'head'"), (dict(merge=True), "merge is an option of adapters"),
    (dict(architecture="marian"), "classification trains the architectures wide and bag and cnn and roberta and bert"),
    (dict(data=()), "needs examples"), (dict(validation=0.0), "validation must be more than 0"),
    (dict(text_column="body"), "line 2: no column named 'body'; it has text, label"),
    (dict(label_column="text", text_column="label"), "a single text"),
])
def test_errors(change: dict, about: str, files, bases, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=about), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        finetune(options_of("new", files, bases, **change), tmp_path / "out", stream=io.StringIO())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind, base, about", [
    ("encoder", "seq2seq", "classification needs an encoder or a decoder; .* holds a EncoderDecoder"),
    ("translation", "causal", "translation needs a.* that closes every text|needs an encoder-decoder|pad token"),
    ("translation", "masked", "needs an encoder-decoder; .*masked holds a BERT with the head 'masked_lm'"),
])
def test_models_that_cannot_learn_the_task(kind: str, base: str, about: str, files, bases, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=about):
        finetune(options_of(kind, files, bases, model=str(bases[base])), tmp_path / "out", stream=io.StringIO())
    assert not (tmp_path / "out").exists()


def test_a_given_model_has_its_sizes(files, bases) -> None:
    with pytest.raises(ValueError, match="n_layer is an option for a new model; .*masked has its own"):
        options_of("encoder", files, bases, n_layer=1)


def test_long_texts_are_cut_and_counted(files, bases, tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text(files["labels"].read_text(encoding="utf-8") + "the " * 60 + "end,red\n", encoding="utf-8")
    with pytest.warns(UserWarning, match="1 of 7. texts are longer than the model's context of 24 tokens"):
        finetune(options_of("new", files, bases, data=(str(path),), steps=1, seed=0), tmp_path / "out",
                 stream=io.StringIO())


def test_lora_without_a_model_warns(files, bases, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="lora without a model leaves random weights"):
        finetune(options_of("lora-new", files, bases, steps=1), tmp_path / "out", stream=io.StringIO())


def test_the_sentence_of_the_documentation_is_not_in_the_data() -> None:
    """The generated set that the command line names; every four words in a row are looked for."""
    assert len(_fours(RESERVED)) == 5
    for records in (SYNTHETIC["synthetic-sentiment"].records(), sentiment(2000, seed=5)):
        for record in records:
            assert not _fours(RESERVED) & _fours(record["text"]) and record["label"] in LABELS


# ---------------------------------------------------------------------------------------------------------------------
# Opened by transformers


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["new", "new-bert-char", "encoder", "decoder", "lora-merged"])
def test_opens_in_transformers(kind: str, runs) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    folder, _ = runs[kind]
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert theirs.config.id2label == {0: "blue", 1: "green", 2: "red"} and theirs.config.label2id["red"] == 2
    texts = ["the red thing 7", "blue", "the green thing"]
    rows = [tokenizer(text)["input_ids"] for text in texts]
    assert rows == load_tokenizer(folder).encode_batch(texts)
    pad = theirs.config.pad_token_id
    width = max(map(len, rows))
    ids = np.array([row + [pad] * (width - len(row)) for row in rows])
    mask = np.array([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    with torch.no_grad():
        logits = theirs(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask)).logits.numpy()
    np.testing.assert_allclose(load_model(folder)(ids, attention_mask=mask).data, logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("base", ["masked", "causal"])
def test_the_first_lesson_moves_the_label_layer_alone_and_the_loss_falls(base, bases) -> None:
    model, tokenizer = load_model(bases[base]), load_tokenizer(bases[base])
    if base == "masked":
        model = model.for_classification(n_labels=3)
    else:
        model = model.with_options(head="classification", n_labels=3, pad_token_id=0)
    texts = [f"the {COLOURS[i % 3]} thing {i}" for i in range(60)]
    rows, labels = [tokenizer.encode(text) for text in texts], [i % 3 for i in range(60)]
    before, loss = model.state_dict(), []
    before = {name: array.copy() for name, array in before.items()}
    for _ in range(2):
        logits = label_logits(model, rows)
        loss.append(-tg.ops.log_softmax(logits).data[np.arange(60), labels].mean())
        teach_label_layer(model, rows, labels)
    moved = {name for name, array in model.state_dict().items() if not np.array_equal(array, before[name])}
    assert moved == ({"classifier.out.weight", "classifier.out.bias"} if base == "masked" else {"score.weight"})
    assert loss[1] < 0.99 * loss[0]


def test_a_model_that_is_given_has_fewer_steps(files, bases) -> None:
    class Source:
        steps_per_epoch = 1000

    def steps(epoch: int, **said) -> int:
        Source.steps_per_epoch = epoch
        return Labels(FinetuneOptions(data=(str(files["labels"]),), **said)).n_steps(Source)

    given = dict(model=str(bases["masked"]))
    assert [steps(epoch) for epoch in (1, 50, 300, 3000)] == [200, 500, 3000, 5000]
    assert [steps(epoch, **given) for epoch in (1, 50, 200, 300, 3000)] == [200, 500, 800, 900, 9000]
    assert steps(300, epochs=2.5, **given) == 750 and steps(300, steps=7, **given) == 7
