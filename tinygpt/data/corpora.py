"""Named corpora: public texts that `--data NAME` finds, or fetches once, and trusts only after a hash check.

A corpus is looked for in the folder that TINYGPT_DATA names, then in the cache, and only then downloaded. Whatever
arrives must have the SHA-256 written here; a corpus without one is never downloaded, because then nobody could say
what was trained on.

Prerequisites: download.py, files/atomic_file.py. Next: sources.py.
"""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from ..files import user_path
from ..files.atomic_file import atomic_write

__all__ = ["CORPORA", "Corpus", "cache_folder", "find_corpus"]


@dataclass(frozen=True)
class Corpus:
    """One public file.

    Attributes:
        filename: what it is called in TINYGPT_DATA and in the cache; a packed `filename.gz` serves as well.
        url: where it is public.
        sha256: of the file itself (of the unpacked member where `member` is set); None: unknown, hence no download.
        about: what it is, for `--help` and messages.
        member: the name inside the zip archive that `url` serves, or None where the file itself is served.
    """

    filename: str
    url: str
    sha256: str | None
    about: str
    member: str | None = None


_GITHUB = "https://raw.githubusercontent.com"

# The hashes of tinyshakespeare and names are published by others too. The rest were computed from one copy of each
# file; if a publisher has changed a file since, the download is refused and the message says how to go on by hand.
CORPORA = {
    "tinyshakespeare": Corpus(
        "tinyshakespeare.txt", f"{_GITHUB}/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        "1.1 MB of Shakespeare's plays"),
    "quijote": Corpus(  # Project Gutenberg re-renders its files now and then, so this hash may fall out of date
        "pg2000_quijote.txt", "https://www.gutenberg.org/cache/epub/2000/pg2000.txt",
        "485be638d952a55acbb944c964d0429418ca2da711df7bc48a36c612129ead9b",
        "Don Quijote in Spanish, 2.2 MB"),
    "the-verdict": Corpus(
        "the-verdict.txt", f"{_GITHUB}/rasbt/LLMs-from-scratch/main/ch02/01_main-chapter-code/the-verdict.txt",
        "b41e41a68f0398a3154ae69e2e4c0e2694e17fe0d66730536837f1b01935b31f",
        "a short story by Edith Wharton, 20 KB"),
    "names": Corpus(
        "names.txt", f"{_GITHUB}/karpathy/makemore/master/names.txt",
        "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d",
        "32,033 first names, one a line"),
    "sms-spam": Corpus(
        "SMSSpamCollection", "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip",
        "6292852506516bde49acaa774ae7cef026a31ae604f59452654f196350330113",
        "5,574 text messages: ham or spam, tab, text", member="SMSSpamCollection"),
    "sst2": Corpus(
        "sst2_train.tsv", f"{_GITHUB}/clairett/pytorch-sentiment-classification/master/data/SST2/train.tsv",
        "ec192f833a64da08f475488a77b0d0b47db47acd0f458bd18433fc793b569920",
        "6,920 sentences of film reviews: text, tab, 0 or 1"),
    "sst2-dev": Corpus(
        "sst2_dev.tsv", f"{_GITHUB}/clairett/pytorch-sentiment-classification/master/data/SST2/dev.tsv",
        "eddea6b39e601dd4e7a672b53cc40fdf6019fa80522f351206c24340ca5d9359",
        "872 sentences to validate sst2 on"),
    "instructions": Corpus(
        "instruction-data.json",
        f"{_GITHUB}/rasbt/LLMs-from-scratch/main/ch07/01_main-chapter-code/instruction-data.json",
        "7e09a9af353722ca15c18bc580f093f9c39d3178335a75177319cb1e1d163944",
        "1,100 records of instruction, input, output"),
    "spa-eng": Corpus(
        "spa.txt", "https://storage.googleapis.com/download.tensorflow.org/data/spa-eng.zip",
        "6ec60e212f812ee3430f7568ea6f33b6fb080e32193c5952e8da0ee8ba45574c",
        "118,964 sentence pairs: English, tab, Spanish", member="spa-eng/spa.txt"),
    "tatoeba-en": Corpus(
        "tatoeba1000.en.txt", f"{_GITHUB}/facebookresearch/LASER/main/data/tatoeba/v1/tatoeba.spa-eng.eng",
        "89e4470f4572040b1ca94b3edad97dcd8bd2f0141f072e12933b8659dadf917d",
        "1,000 English sentences, line by line translations of tatoeba-es"),
    "tatoeba-es": Corpus(
        "tatoeba1000.es.txt", f"{_GITHUB}/facebookresearch/LASER/main/data/tatoeba/v1/tatoeba.spa-eng.spa",
        "f9628cea40481e8251f0999718bd893cff0f261752f5e526b3bc20284e2ca018",
        "1,000 Spanish sentences, line by line translations of tatoeba-en"),
    "banking77": Corpus(
        "banking77_train.csv", f"{_GITHUB}/PolyAI-LDN/task-specific-datasets/master/banking_data/train.csv",
        "b06e26ac675513959a63135f11b94ea7786ed02da65db93a5650d8838cbc664b",
        "10,003 requests of a bank's customers, 77 intents: columns text and category"),
    "banking77-test": Corpus(
        "banking77_test.csv", f"{_GITHUB}/PolyAI-LDN/task-specific-datasets/master/banking_data/test.csv",
        "d12d6e3bc4c3103966ae786dc435913c0c563dfa328f5a3646d0e62cfeeb474d",
        "3,080 requests to test banking77 on"),
    "dialogsum-dev": Corpus(
        "dialogsum_dev.jsonl", f"{_GITHUB}/cylnlp/dialogsum/main/DialogSum_Data/dialogsum.dev.jsonl",
        "436721e0a3571eef7072964f80e042fb151d8c6178db1a688ce8f803bbf0a13f",
        "500 dialogues with summaries"),
    # The first items of longer public files: no public address serves exactly these bytes.
    "hellaswag": Corpus(
        "hellaswag_val_1000.jsonl", f"{_GITHUB}/rowanz/hellaswag/master/data/hellaswag_val.jsonl", None,
        "1,000 questions with four endings"),
    "lambada": Corpus(
        "lambada_1500.jsonl", "https://openaipublic.blob.core.windows.net/gpt-2/data/lambada_test.jsonl", None,
        "1,500 passages whose last word is to be guessed"),
    "blimp": Corpus(
        "blimp_20.jsonl", "https://github.com/alexwarstadt/blimp", None,
        "minimal pairs of 20 phenomena of English grammar"),
    "simple-safety-tests": Corpus(
        "simple_safety_tests.csv", "https://github.com/bertiev/SimpleSafetyTests", None,
        "100 requests that an assistant should refuse"),
    # Benchmarks in archives, or that publishers change: put the file there by hand.
    "arc": Corpus("arc.jsonl", "https://s3-us-west-2.amazonaws.com/ai2-website/data/ARC-V1-Feb2018.zip", None,
                  "science questions of schools"),
    "piqa": Corpus("piqa.jsonl", "https://yonatanbisk.com/piqa/data/valid.jsonl", None,
                   "how things are done; labels in piqa-labels.lst"),
    "winogrande": Corpus("winogrande.jsonl",
                         "https://storage.googleapis.com/ai2-mosaic/public/winogrande/winogrande_1.1.zip", None,
                         "whom a pronoun means"),
    "copa": Corpus("copa.jsonl", "https://dl.fbaipublicfiles.com/glue/superglue/data/v2/COPA.zip", None,
                   "causes and effects"),
    "openbookqa": Corpus("openbookqa.jsonl",
                         "https://s3-us-west-2.amazonaws.com/ai2-website/data/OpenBookQA-V1-Sep2018.zip", None,
                         "science that needs a fact and a step"),
    "mmlu": Corpus("mmlu.csv", "https://people.eecs.berkeley.edu/~hendrycks/data.tar", None,
                   "examinations; one of its tables without a header"),
    "gsm8k": Corpus("gsm8k.jsonl", f"{_GITHUB}/openai/grade-school-math/master/grade_school_math/data/test.jsonl",
                    None, "sums told as stories"),
    "crows-pairs": Corpus("crows_pairs.csv", f"{_GITHUB}/nyu-mll/crows-pairs/master/data/crows_pairs_anonymized.csv",
                          None, "pairs of sentences, one more of a stereotype"),
}
CORPORA["shakespeare"] = CORPORA["tinyshakespeare"]


def cache_folder() -> Path:
    """Where downloads are kept: $XDG_CACHE_HOME/tinygpt, ~/.cache/tinygpt, or %LOCALAPPDATA%\\tinygpt on Windows."""
    home = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    return (Path(home) if home else user_path("~") / ".cache") / "tinygpt"


def _in_folder(folder: Path, corpus: Corpus) -> Path | None:
    candidates = (folder / corpus.filename, folder / f"{corpus.filename}.gz")
    return next((path for path in candidates if path.is_file()), None)


def _download(name: str, corpus: Corpus, target: Path) -> None:
    from .download import fetch, unpack  # here, because most runs need no network code

    what = f"{corpus.url} and unpack {corpus.member}" if corpus.member else corpus.url
    by_hand = f"to go on by hand, fetch {what}, check it, and save it as {target} or name its path instead of {name!r}"
    if corpus.sha256 is None:
        raise FileNotFoundError(
            f"{name!r} is in neither TINYGPT_DATA nor {target.parent}, and is not downloaded because no hash of it is "
            f"known; {by_hand}")
    print(f"downloading {name} from {corpus.url} to {target}", file=sys.stderr)
    try:
        content = fetch(corpus.url)
        if corpus.member is not None:
            content = unpack(content, corpus.member)
    except ConnectionError as error:
        raise ConnectionError(f"cannot download {name!r} ({error}); {by_hand}") from error
    except ValueError as error:
        raise ValueError(f"the download of {name!r} is not what it should be ({error}); {by_hand}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != corpus.sha256:
        raise ValueError(
            f"the download of {name!r} is not what it should be (SHA-256 {found}, expected {corpus.sha256}): it was "
            f"damaged on the way or has changed; {by_hand}")
    with atomic_write(target) as file:
        file.write(content)


def find_corpus(name: str, download: bool = True) -> Path:
    """The file of a named corpus, downloaded to the cache if it is nowhere yet.

    Looks in the folder TINYGPT_DATA (whose files are used as they are), then in `cache_folder()`.

    Args:
        download: False looks only.

    Raises:
        KeyError: no corpus has this name.
        FileNotFoundError: TINYGPT_DATA is no folder, or the corpus may not be downloaded.
        ConnectionError: the download failed; the message says how to fetch the file by hand.
        ValueError: what arrived does not have the expected SHA-256, or is too large.
    """
    if name not in CORPORA:
        raise KeyError(f"no corpus is named {name!r}; there are {', '.join(sorted(CORPORA))}")
    corpus = CORPORA[name]
    own = os.environ.get("TINYGPT_DATA")
    if own:
        if not Path(own).is_dir():
            raise FileNotFoundError(f"TINYGPT_DATA names {own!r}, which is no folder; correct it or unset it")
        path = _in_folder(Path(own), corpus)
        if path is not None:
            return path
    path = _in_folder(cache_folder(), corpus)
    if path is None:
        path = cache_folder() / corpus.filename
        if not download:
            raise FileNotFoundError(f"{name!r} is in neither TINYGPT_DATA nor {path.parent}")
        _download(name, corpus, path)
    return path
