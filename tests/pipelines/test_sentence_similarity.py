"""The pipeline of cosines: shapes of inputs and results, and the folder's own modules."""

import json

import numpy as np
import pytest
from tiny_models import reader, save

from tinygpt import pipeline
from tinygpt.models import SentenceEncoder, cosines

OTHERS = ["the lazy dog", "a fox", "the dog"]


@pytest.fixture
def folder(tmp_path):
    save(reader(None), tmp_path)
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    kinds = {"": "Transformer", "1_Pooling": "Pooling"}
    (tmp_path / "modules.json").write_text(json.dumps(
        [{"type": f"sentence_transformers.models.{kind}", "path": path} for path, kind in kinds.items()]))
    return tmp_path


def test_a_text_and_others_give_their_cosines(folder):
    pipe, encoder = pipeline("sentence-similarity", model=folder), SentenceEncoder.from_pretrained(folder)
    assert encoder.modules.steps[0].kinds == ("first",)
    expected = cosines(encoder.encode("the dog"), encoder.encode(OTHERS)).tolist()
    given = {"source_sentence": "the dog", "sentences": OTHERS}
    for found in (pipe(given), pipe("the dog", OTHERS), pipe([given, {"source_sentence": "x", "sentences": []}])[0]):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert expected[2] == pytest.approx(1) and isinstance(pipe(given)[0], float)
    assert pipe({"source_sentence": "x", "sentences": []}) == []


@pytest.mark.parametrize("given, error, message", [
    ("the dog", TypeError, 'takes {"source_sentence": a text'), ({"source_sentence": "a"}, ValueError, "must be {"),
    ({"source_sentence": "a", "sentences": [1]}, ValueError, "must be {"),
    (["the dog"], TypeError, "item 0 of the list")])
def test_other_inputs_are_refused(given, error, message, folder):
    with pytest.raises(error, match=message):
        pipeline("sentence-similarity", model=folder)(given)
