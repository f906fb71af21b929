"""Templates, as Hugging Face's post-processors write them."""

from __future__ import annotations

import pytest

from tinygpt.tokenizers.template import Template

A, B = {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}
S = {"SpecialToken": {"id": "<s>", "type_id": 0}}
TWO = {"SpecialToken": {"id": "<two>", "type_id": 0}}
NAMES = {"<s>": {"id": "<s>", "ids": [7], "tokens": ["<s>"]},
         "<two>": {"id": "<two>", "ids": [8, 9], "tokens": ["<x>", "<y>"]}}


def template(*single):
    return {"type": "TemplateProcessing", "single": list(single), "pair": [A, B], "special_tokens": NAMES}


@pytest.mark.parametrize("json, prefix, suffix", [
    (None, (), ()),
    ({"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}, (), ()),
    ({"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": True,
      "add_prefix_space": False}, (0,), (2,)),
    ({"type": "BertProcessing", "sep": ["[SEP]", 5], "cls": ["[CLS]", 4]}, (4,), (5,)),
    (template(A), (), ()),
    (template(S, A), (7,), ()),
    (template(S, A, TWO), (7,), (8, 9)),
    ({"type": "Sequence", "processors": [{"type": "ByteLevel"}, template(S, A)]}, (7,), ()),
    ({"type": "Sequence", "processors": [template(S, A), template(A, TWO)]}, (7,), (8, 9)),
    ({"type": "Sequence", "processors": []}, (), ()),
])
def test_what_goes_around_a_text(json, prefix, suffix):
    read = Template.from_json(json)
    assert (read.prefix_ids, read.suffix_ids, read.json) == (prefix, suffix, json)


def test_written_and_read_agree():
    ids = {"<s>": 3, "</s>": 4}
    made = Template.around(["<s>", "<s>"], ["</s>"], ids)
    assert (made.prefix_ids, made.suffix_ids) == ((3, 3), (4,)) and Template.from_json(made.json) == made
    assert Template.around([], [], ids) == Template()


def nested(depth):
    json = None
    for _ in range(depth):
        json = {"type": "Sequence", "processors": [json]}
    return json


@pytest.mark.parametrize("json", [
    {"type": "Metaspace"}, {}, [], "ByteLevel", 3, {"type": None}, {"type": ["ByteLevel"]}, template(), template(A, A),
    template(B, {"SpecialToken": {}}), template({"SpecialToken": {"id": "<nothing>"}}, A), template("A"), template(3),
    {"type": "TemplateProcessing"}, {"type": "TemplateProcessing", "single": None},
    {"type": "RobertaProcessing"}, {"type": "RobertaProcessing", "cls": ["<s>", -1], "sep": ["</s>", 1]},
    {"type": "RobertaProcessing", "cls": ["<s>", True], "sep": ["</s>", 1]},
    {"type": "RobertaProcessing", "cls": "", "sep": ""}, {"type": "Sequence", "processors": 3}, nested(100_000),
])
def test_others_are_refused(json):
    with pytest.raises(ValueError, match="post_processor"):
        Template.from_json(json)


@pytest.mark.parametrize("json, ids, types", [
    (None, [7, 8, 9], [0, 0, 1]),
    ({"type": "BertProcessing", "sep": ["S", 2], "cls": ["C", 1]}, [1, 7, 8, 2, 9, 2], [0, 0, 0, 0, 1, 1]),
    ({"type": "RobertaProcessing", "sep": ["S", 2], "cls": ["C", 1]}, [1, 7, 8, 2, 2, 9, 2], [0] * 7),
    ({"type": "Sequence", "processors": [
        {"type": "ByteLevel"}, {"type": "BertProcessing", "sep": ["S", 2], "cls": ["C", 1]}]},
     [1, 7, 8, 2, 9, 2], [0, 0, 0, 0, 1, 1])])
def test_two_texts(json, ids, types):
    assert Template.from_json(json).pair([7, 8], [9]) == (ids, types)


def test_two_texts_of_what_was_made_here():
    names = {"C": 1, "S": 2}
    assert Template.around(["C"], ["S"], names).pair([7], [9]) == ([1, 7, 2, 1, 9, 2], [0] * 6)
    assert Template.around(["C"], ["S"], names, ([], 1)).pair([7], [9]) == ([1, 7, 2, 9, 2], [0, 0, 0, 1, 1])
    assert Template.around(["C"], ["S"], names, (["S"], 0)).pair([7], [9]) == ([1, 7, 2, 2, 9, 2], [0] * 6)
    with pytest.raises(ValueError, match="must hold the first and then the second"):
        Template.from_json({"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}],
                            "pair": [{"Sequence": {"id": "B", "type_id": 0}}], "special_tokens": {}}).pair([7], [9])
