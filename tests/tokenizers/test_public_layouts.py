"""Folders as public models have them, made by transformers: RoBERTa, BART, Whisper, GPT-2, Falcon, Phi-4.

Ids, what goes around a text, roles and prompts are those of transformers, from every set of files that says enough.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizer_texts import corpus, random_texts

from tinygpt.tokenizers import load_tokenizer

pytestmark = pytest.mark.oracle

MARKS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
END = "<|endoftext|>"
SPEECH = [END, "<|startoftranscript|>", "<|en|>", "<|translate|>", "<|transcribe|>", "<|nospeech|>",
          "<|notimestamps|>"]
CHAT = [END, "<|im_start|>", "<|im_end|>", "<|im_sep|>", "<|dummy_85|>"]
CLASSES = {"roberta": ("RobertaTokenizer", MARKS), "bart": ("BartTokenizer", MARKS),
           "longformer": ("LongformerTokenizer", MARKS), "whisper": ("WhisperTokenizer", SPEECH),
           "gpt2": ("GPT2Tokenizer", [END])}
ROLES = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "cls_token_id", "sep_token_id",
         "mask_token_id")
TEXTS = ["", " ", "Hello world", " hello  the\n\ntheory 12345 it's", "x² naïve café", "日本語", "a<mask>b", "a <mask> b",
         "<s>x</s>", "  <|endoftext|> q", "To be, or not to be!!!...", "1234567", "\u00a0x\ty\r\n z", "1a22b333c4444"]
PHI = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '<|im_sep|>' + message['content'] + "
       "'<|im_end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}")
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
         r"|\s+(?!\S)|\s+")


@pytest.fixture
def transformers(hf_tokenizers):
    return pytest.importorskip("transformers")


def trained(hf, special):
    """A vocabulary and merges as Hugging Face's trainer makes them."""
    tokenizer = hf.Tokenizer(hf.models.BPE())
    tokenizer.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator([corpus()[:20_000]], hf.trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, show_progress=False,
        initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet()))
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def write(folder: Path, **files) -> Path:
    """JSON files, by their names without the ending."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    return folder


def two_files(folder: Path, vocab, merges, **files) -> Path:
    write(folder, vocab=vocab, **files)
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
    return folder


def assert_same(transformers, folder: Path, tmp_path: Path) -> None:
    """Both libraries read the folder alike, and ours reads alike what it saves."""
    theirs, ours = transformers.AutoTokenizer.from_pretrained(folder), load_tokenizer(folder)
    ours.save(tmp_path / "again")
    again = load_tokenizer(tmp_path / "again")
    for text in [*TEXTS, *random_texts(40, seed=5), corpus()[20_000:22_000]]:
        for around in (True, False):
            expected = theirs(text, add_special_tokens=around)["input_ids"]
            for tok in (ours, again):
                assert tok.encode(text, add_special_tokens=around, allowed_special="all") == expected, text
        assert ours.decode(expected) == theirs.decode(expected)
    for role in ROLES:
        assert getattr(theirs, role) == getattr(ours, role) == getattr(again, role), role


@pytest.mark.parametrize("layout", ["saved", "type", "class", "prefix space", "tokenizer.json", "both"])
@pytest.mark.parametrize("kind", CLASSES)
def test_folders_of_a_class(tmp_path, hf_tokenizers, transformers, kind, layout):
    name, special = CLASSES[kind]
    vocab, merges = trained(hf_tokenizers, special)
    folder = tmp_path / "folder"
    bare = {"tokenizer_config": {"model_max_length": 512}, "config": {"model_type": kind}}
    if layout == "type":  # as roberta-base: the model's config.json alone says what it is
        two_files(folder, vocab, merges, **bare)
    elif layout == "class":
        two_files(folder, vocab, merges, tokenizer_config={"tokenizer_class": name})
    elif layout == "prefix space":
        two_files(folder, vocab, merges, tokenizer_config={"tokenizer_class": name, "add_prefix_space": True})
    else:
        getattr(transformers, name)(vocab=dict(vocab), merges=list(merges)).save_pretrained(folder)
        if layout != "saved":
            write(folder, **bare)
        if layout == "both":
            two_files(folder, vocab, merges)
    assert_same(transformers, folder, tmp_path)


@pytest.mark.parametrize("setting", [{"language": "german"}, {"task": "translate"}, {"predict_timestamps": True}])
def test_another_beginning_for_whisper_is_refused(tmp_path, hf_tokenizers, setting):
    """transformers puts further tokens before a text: not in silence another text."""
    vocab, merges = trained(hf_tokenizers, SPEECH)
    folder = two_files(tmp_path, vocab, merges, tokenizer_config={"tokenizer_class": "WhisperTokenizer", **setting})
    with pytest.raises(ValueError, match=f"{next(iter(setting))} changes what goes around a text"):
        load_tokenizer(folder)


def falcon(hf, folder: Path):
    pre = hf.pre_tokenizers
    vocab, merges = trained(hf, [">>TITLE<<", ">>ABSTRACT<<", END])
    made = hf.Tokenizer(hf.models.BPE(vocab=vocab, merges=merges))
    made.pre_tokenizer = pre.Sequence([
        pre.Punctuation("contiguous"), pre.ByteLevel(add_prefix_space=False), pre.Digits(individual_digits=False),
        pre.Split(hf.Regex("[0-9][0-9][0-9]"), "isolated")])
    made.decoder = hf.decoders.ByteLevel()
    made.post_processor = hf.processors.ByteLevel(add_prefix_space=True, trim_offsets=False)
    made.add_special_tokens([">>TITLE<<", ">>ABSTRACT<<", END])
    folder.mkdir()
    made.save(str(folder / "tokenizer.json"))
    return made


@pytest.mark.parametrize("layout", ["saved", "old"])
def test_falcon(tmp_path, hf_tokenizers, transformers, layout):
    """Byte-level BPE whose text is cut at punctuation first, and whose digits stand in threes."""
    made, folder = falcon(hf_tokenizers, tmp_path / "folder"), tmp_path / "folder"
    if layout == "saved":
        transformers.PreTrainedTokenizerFast(tokenizer_object=made, eos_token=END).save_pretrained(folder)
    else:
        write(folder, tokenizer_config={"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END},
              special_tokens_map={"eos_token": END, "additional_special_tokens": [">>TITLE<<", ">>ABSTRACT<<"]})
    assert_same(transformers, folder, tmp_path)


def phi(hf, folder: Path) -> Path:
    pre = hf.pre_tokenizers
    vocab, merges = trained(hf, CHAT)
    made = hf.Tokenizer(hf.models.BPE(vocab=vocab, merges=merges))
    made.pre_tokenizer = pre.Sequence([pre.Split(hf.Regex(SPLIT), "removed", invert=True),
                                       pre.ByteLevel(add_prefix_space=False, use_regex=False)])
    made.decoder = hf.decoders.ByteLevel()
    made.post_processor = hf.processors.ByteLevel(trim_offsets=False)
    made.add_special_tokens([hf.AddedToken(name, lstrip=True, rstrip=True) for name in CHAT])
    settings = {"lstrip": True, "rstrip": True, "normalized": False, "single_word": False, "special": True}
    write(folder, config={"model_type": "phi3"}, tokenizer_config={
        "tokenizer_class": "GPT2Tokenizer", "bos_token": END, "eos_token": "<|im_end|>", "pad_token": "<|dummy_85|>",
        "unk_token": END, "chat_template": PHI, "add_prefix_space": False,
        "added_tokens_decoder": {str(vocab[name]): {"content": name, **settings} for name in CHAT}})
    made.save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.parametrize("layout", ["public", "saved again", "two files beside it"])
def test_phi_4(tmp_path, hf_tokenizers, transformers, layout):
    folder = phi(hf_tokenizers, tmp_path / "folder")
    if layout == "saved again":
        transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path / "theirs")
        folder = tmp_path / "theirs"
    if layout == "two files beside it":
        two_files(folder, *trained(hf_tokenizers, CHAT))
    assert_same(transformers, folder, tmp_path)
    theirs, ours = transformers.AutoTokenizer.from_pretrained(folder), load_tokenizer(folder)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi  there\n"},
                {"role": "assistant", "content": "Hello"}, {"role": "user", "content": " 12345?"}]
    for settings in ({}, {"add_generation_prompt": True}):
        text = theirs.apply_chat_template(messages, tokenize=False, **settings)
        assert ours.apply_chat_template(messages, tokenize=False, **settings) == text
        assert ours.apply_chat_template(messages, **settings) == theirs(text)["input_ids"]
