"""Summaries and whatever else an encoder-decoder writes: names of results, and what a folder says of a task."""

import json

import pytest
from tiny_models import save, translator

from tinygpt import pipeline

TASKS = {"translation": "translation", "summarization": "summary", "text2text-generation": "generated"}


@pytest.fixture
def folder(tmp_path):
    save(translator("t5"), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["task_specific_params"] = {
        "summarization": {"prefix": "the dog: ", "num_beams": 3, "max_length": 9, "min_length": 4,
                          "length_penalty": 2.0, "early_stopping": True, "no_repeat_ngram_size": 3, "unknown": 1},
        "translation_en_to_es": {"prefix": "fox "}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


@pytest.mark.parametrize("task, name", TASKS.items())
def test_all_write_the_same_under_their_names(task, name, folder):
    found = pipeline(task, folder, prefix="", num_beams=1, max_length=8, min_length=0)
    plain = pipeline("translation", folder, max_length=8)
    (ours,), (expected,) = found("the dog", return_tensors=True), plain("the dog", return_tensors=True)
    assert list(ours) == [f"{name}_token_ids"] and len(ours[f"{name}_token_ids"]) <= 8
    if task != "summarization":  # whose folder forbids repetition
        assert list(ours.values()) == list(expected.values())
    assert list(found(["the dog"])[0]) == [f"{name}_text"]


def test_the_folder_says_how_a_task_is_done_and_the_caller_has_the_last_word(folder):
    pipe = pipeline("summarization", folder, num_beams=2)
    s = pipe.settings
    assert (s.prefix, s.num_beams, s.max_length, s.min_length, s.length_penalty, s.early_stopping) \
        == ("the dog: ", 2, 9, 4, 2.0, True)
    same = pipeline("text2text-generation", folder, max_length=9, min_length=4, num_beams=2, length_penalty=2.0,
                    early_stopping=True, no_repeat_ngram_size=3)
    assert pipe("a fox")[0]["summary_text"] == same("the dog: a fox")[0]["generated_text"]
    assert pipeline("translation_en_to_es", folder).settings.prefix == "fox "
    assert pipeline("translation", folder).settings.prefix == ""


def test_drawn_targets_repeat_with_their_seed(folder):
    pipe = pipeline("text2text-generation", folder, do_sample=True, max_length=12)
    assert pipe("the dog", seed=1) == pipe("the dog", seed=1)
    assert any(pipe("the dog", seed=1) != pipe("the dog", seed=seed) for seed in range(2, 6))
    with pytest.raises(ValueError, match="beams are not drawn"):
        pipe("the dog", num_beams=2)


@pytest.mark.parametrize("params", [{"summarization": {"num_beams": "many"}}, {"summarization": {"prefix": 3}}])
def test_a_folder_with_settings_that_cannot_be_is_refused(params, folder):
    config = json.loads((folder / "config.json").read_text()) | {"task_specific_params": params}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="num_beams must be a whole number|prefix must be a text"):
        pipeline("summarization", folder)
