"""modules.json and what it names: read as sentence-transformers writes it, and refused by name where it is not."""

import json

import numpy as np
import pytest

from tinygpt.pretrained.safetensors_file import write_safetensors
from tinygpt.pretrained.sentence_folder import DenseStep, NormalizeStep, PoolingStep, module_folders, read_modules

TRANSFORMER = {"type": "sentence_transformers.models.Transformer", "path": ""}
POOLING = {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}
NORMALIZE = {"type": "sentence_transformers.models.Normalize", "path": "2_Normalize"}
DENSE = {"type": "sentence_transformers.models.Dense", "path": "2_Dense"}
DENSE_CONFIG = {"in_features": 3, "out_features": 2, "bias": True,
                "activation_function": "torch.nn.modules.activation.Tanh"}


def write(folder, files):
    for name, value in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(value))


def dense_weights(folder, rows=2, columns=3):
    (folder / "2_Dense").mkdir(exist_ok=True)
    arrays = {"linear.weight": np.ones((rows, columns), np.float32), "linear.bias": np.zeros(rows, np.float32)}
    write_safetensors(folder / "2_Dense/model.safetensors", arrays, {})


def test_a_folder_that_says_nothing_has_the_mean(tmp_path):
    assert read_modules(tmp_path).steps == (PoolingStep(("mean",)),) and read_modules(tmp_path).max_length is None


@pytest.mark.parametrize("config, kinds", [
    ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, ("first",)),
    ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, ("max", "mean")),
    ({"pooling_mode_lasttoken": True}, ("last",)), ({"pooling_mode_weightedmean_tokens": True}, ("weighted_mean",)),
    ({"pooling_mode_mean_sqrt_len_tokens": True}, ("mean_sqrt",)), ({}, ("mean",)),
    ({"pooling_mode": "cls"}, ("first",)), ({"pooling_mode": ["mean", "max"]}, ("mean", "max"))])
def test_poolings(config, kinds, tmp_path):
    write(tmp_path, {"modules.json": [TRANSFORMER, POOLING, NORMALIZE], "1_Pooling/config.json": config})
    assert read_modules(tmp_path).steps == (PoolingStep(kinds), NormalizeStep())


def test_the_other_files(tmp_path):
    write(tmp_path, {
        "modules.json": [TRANSFORMER | {"path": "0_Transformer"}, POOLING], "1_Pooling/config.json": {},
        "0_Transformer/sentence_roberta_config.json": {"max_seq_length": 128, "do_lower_case": True},
        "config_sentence_transformers.json": {"prompts": {"query": "query: "}, "default_prompt_name": "query",
                                              "truncate_dim": 64}})
    found = read_modules(tmp_path)
    assert (found.base, found.max_length, found.lower_case, found.prompt, found.size) \
        == ("0_Transformer", 128, True, "query: ", 64)
    (tmp_path / "0_Transformer/sentence_roberta_config.json").unlink()
    for length, expected in ((512, 512), (10 ** 30, None), (1e30, None)):
        write(tmp_path, {"0_Transformer/tokenizer_config.json": {"model_max_length": length}})
        assert read_modules(tmp_path).max_length == expected


def test_a_linear_layer(tmp_path):
    write(tmp_path, {"modules.json": [TRANSFORMER, POOLING, DENSE], "1_Pooling/config.json": {},
                     "2_Dense/config.json": DENSE_CONFIG})
    dense_weights(tmp_path)
    dense = read_modules(tmp_path).steps[1]
    assert isinstance(dense, DenseStep) and dense.weight.shape == (2, 3) and dense.activation == "tanh"


@pytest.mark.parametrize("modules, message", [
    ([TRANSFORMER, POOLING | {"path": "../elsewhere"}], "must lead to a folder inside"),
    ([TRANSFORMER, POOLING | {"path": "/etc"}], "must lead to a folder inside"),
    ([TRANSFORMER, POOLING | {"path": "a//b"}], "must lead to a folder inside"),
    ([TRANSFORMER, POOLING | {"path": "C:\\x"}], "must lead to a folder inside"),
    ([TRANSFORMER, POOLING | {"path": 3}], "must lead to a folder inside"),
    ([TRANSFORMER | {"path": ".."}, POOLING], "must lead to a folder inside"),
    ([TRANSFORMER, POOLING, {"type": "sentence_transformers.models.LSTM", "path": "x"}],
     "module 'sentence_transformers.models.LSTM' is not supported"),
    ([TRANSFORMER, {"type": "os.system", "path": "x"}], "module 'os.system' is not supported"),
    ([TRANSFORMER, {"type": "evil.models.Pooling", "path": "x"}], "module 'evil.models.Pooling' is not supported"),
    ([TRANSFORMER, NORMALIZE], "must be a Transformer, then Pooling"),
    ([POOLING, TRANSFORMER], "must be a Transformer, then Pooling"),
    ([TRANSFORMER, POOLING, POOLING], "must be a Transformer, then Pooling"),
    ([TRANSFORMER], "must list 2 to 100 modules"), ([TRANSFORMER] * 101, "must list 2 to 100 modules"),
    ({"type": "x"}, "must list 2 to 100 modules"), ([TRANSFORMER, 3], "must list 2 to 100 modules")])
def test_hostile_lists_of_modules_are_refused(modules, message, tmp_path):
    write(tmp_path, {"modules.json": modules, "1_Pooling/config.json": {}})
    with pytest.raises(ValueError, match=message):
        read_modules(tmp_path)


@pytest.mark.parametrize("name, value, message", [
    ("1_Pooling/config.json", {"pooling_mode": "median"}, "pooling_mode must be one or several of cls, max"),
    ("1_Pooling/config.json", {"pooling_mode": []}, "pooling_mode must be one or several of"),
    ("1_Pooling/config.json", {"pooling_mode_cls_token": "yes"}, "pooling_mode_cls_token must be of type bool"),
    ("2_Dense/config.json", DENSE_CONFIG | {"activation_function": "os.system"}, "activation_function='os.system'"),
    ("2_Dense/config.json", DENSE_CONFIG | {"activation_function": "torch.nn.Softmax"}, "torch.nn.Softmax"),
    ("2_Dense/config.json", DENSE_CONFIG | {"use_residual": True}, "use_residual is not supported"),
    ("2_Dense/config.json", DENSE_CONFIG | {"module_input_name": "token_embeddings"}, "module_input_name"),
    ("2_Dense/config.json", DENSE_CONFIG | {"in_features": 10 ** 12}, "must hold numbers of shape"),
    ("2_Dense/config.json", DENSE_CONFIG | {"bias": False}, "its weights must be linear.weight, found"),
    ("sentence_bert_config.json", {"max_seq_length": 0}, "whole number of tokens"),
    ("sentence_bert_config.json", {"max_seq_length": "all"}, "whole number of tokens"),
    ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, "transformer_task='fill-mask'"),
    ("config_sentence_transformers.json", {"default_prompt_name": "q", "prompts": {}}, "names none of the prompts"),
    ("config_sentence_transformers.json", {"truncate_dim": -1}, "truncate_dim must be at least 1"),
    ("2_Normalize/config.json", {"module_input_name": "token_embeddings"}, "module_input_name='token_embeddings'")])
def test_settings_that_are_not_supported_are_named(name, value, message, tmp_path):
    write(tmp_path, {"modules.json": [TRANSFORMER, POOLING, DENSE, NORMALIZE], "1_Pooling/config.json": {},
                     "2_Dense/config.json": DENSE_CONFIG})
    dense_weights(tmp_path)
    read_modules(tmp_path)
    write(tmp_path, {name: value})
    with pytest.raises(ValueError, match=message):
        read_modules(tmp_path)


def test_the_folders_of_modules(tmp_path):
    assert module_folders(tmp_path) == []
    write(tmp_path, {"modules.json": [TRANSFORMER, POOLING, NORMALIZE]})
    assert module_folders(tmp_path) == ["1_Pooling", "2_Normalize"]
    write(tmp_path, {"modules.json": [TRANSFORMER, POOLING | {"path": "../x"}]})
    assert module_folders(tmp_path) == []


def test_a_pickle_is_not_opened(tmp_path):
    write(tmp_path, {"modules.json": [TRANSFORMER, POOLING, DENSE], "1_Pooling/config.json": {},
                     "2_Dense/config.json": DENSE_CONFIG})
    (tmp_path / "2_Dense/pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(FileNotFoundError, match="is a pickle"):
        read_modules(tmp_path)
