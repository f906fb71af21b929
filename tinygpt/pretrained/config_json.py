"""config.json and generation_config.json to the fields of our configurations, and back.

The fields are a plain dict, with `architecture` among them: the configurations themselves stand above, in
models/config.py, and check what this file lets pass.
Prerequisites: config_fields.py. Next: names.py.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

from ..files import read_json, write_json
from .config_fields import (ACTIVATIONS, ALWAYS_BIASED, ARGUMENTS, CLASSES, COUNTS_TOKENS, DECODERS, ENCODER_DECODERS,
                            FIXED, GATED, LAYER_TYPES, NOT_FOLLOWED, OPTIONS, OWN, PART_OPTIONS, PARTS, RULES, THETAS,
                            WITH_BEAMS, WITH_WINDOWS, Option)

__all__ = ["CONFIG", "GENERATION_CONFIG", "fields_of", "read_config", "write_config"]

CONFIG, GENERATION_CONFIG = "config.json", "generation_config.json"
GENERATION = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "forced_bos_token_id",
              "forced_eos_token_id")                          # what generation_config.json may say again, and better
MAX_SIZE = 1 << 31
MAX_LAYERS = 1 << 16
LARGEST = sys.float_info.max                                  # JSON's integers may be larger; NaN is below nothing
PROBLEM_TYPES = ("single_label_classification", "multi_label_classification", "regression")
OWN_TYPE = "tinygpt"                                          # the model_type of what transformers has no class for
HEAD_OF_NO_CLASS = dict.fromkeys(("bert", "roberta", "xlm-roberta", "distilbert"), "masked_lm")  # "lm" elsewhere


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _convert(name: str, kind: str, value: Any) -> Any:
    """One value of config.json, checked and in our spelling."""
    if value is None and (kind.endswith("?") or kind in ("id", "ids")):
        return None
    kind = kind.rstrip("?")
    if kind in ("size", "count") and _is_integer(value) and (kind == "count" or value) and 0 <= value < MAX_SIZE:
        return value
    if kind == "number" and isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST:
        return float(value)
    if kind == "flag" and isinstance(value, bool):
        return value
    if kind == "activation":
        if isinstance(value, str) and value in ACTIVATIONS:
            return ACTIVATIONS[value]
        raise ValueError(f"{name}={value!r:.80} is not supported; supported: {', '.join(ACTIVATIONS)}")
    if kind == "name" and isinstance(value, str):
        return value
    if kind in ("id", "ids"):
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if kind == "ids" and isinstance(value, list) and value and all(map(_is_integer, value)):
            return tuple(value)
        if _is_integer(value):
            return value
    wanted = {"size": "an integer of at least 1", "count": "an integer of at least 0", "number": "a finite number",
              "flag": "true or false", "name": "a string", "id": "a token id or null", "ids": "token ids or null"}[kind]
    raise ValueError(f"{name} must be {wanted}, got {value!r:.80}")


def _architecture_and_head(config: dict[str, Any]) -> tuple[str, str | None]:
    """Which of our architectures, and which head, from `model_type` and `architectures`."""
    classes = config.get("architectures") or []
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ValueError(f"architectures must be a list of class names, got {classes!r:.80}")
    known = {name: (architecture, head) for architecture, heads in CLASSES.items()
             for head, names in heads.items() for name in names}
    kind = config.get("model_type")
    if kind == OWN_TYPE:
        return _layout_and_head(config)
    if kind is None and classes and classes[0] in known:       # the oldest folders have no model_type
        kind = known[classes[0]][0]
    if not isinstance(kind, str) or kind not in OPTIONS or kind in OWN:
        raise ValueError(f"model_type={kind!r:.80} is not supported; supported: "
                         f"{', '.join(name for name in OPTIONS if name not in OWN)}")
    if not classes:
        return kind, HEAD_OF_NO_CLASS.get(kind, "lm")
    if classes[0] not in known or known[classes[0]][0] != kind:
        supported = ", ".join(name for names in CLASSES[kind].values() for name in names)
        raise ValueError(f"architectures={classes!r:.120} is not supported for model_type={kind!r:.80}; "
                         f"supported: {supported}")
    return known[classes[0]]


def _layout_and_head(config: dict[str, Any]) -> tuple[str, str | None]:
    """The same from `layout` and `head`, which a config.json of our own type has instead."""
    layout, head = config.get("layout"), config.get("head")
    if not isinstance(layout, str) or layout not in OPTIONS:
        raise ValueError(f"layout={layout!r:.80} is not supported; supported: {', '.join(OPTIONS)}")
    if not (head is None or isinstance(head, str)) or head not in CLASSES[layout]:
        raise ValueError(f"head={head!r:.80} is not supported for layout={layout!r}; supported: "
                         f"{', '.join(map(str, CLASSES[layout]))}")
    return layout, head


def _deviating(fields: dict[str, Any]) -> dict[str, Any]:
    """The parts of a model that the classes of its layout in transformers lack, by our names. Without any, transformers
    opens the folder; with some, its config.json has a type that transformers does not know and so refuses."""
    written = {row.ours for row in OPTIONS[fields["architecture"]] if row.kind != "activation"}
    if fields["architecture"] in ENCODER_DECODERS:             # whose feed-forward layers its layout has a word for
        written.add("feed_forward")
    parts = {name: fields[name] for name in PARTS if name not in written and fields.get(name) is not None
             and not (name == "activation" and fields[name] in ACTIVATIONS.values())}
    return parts | {row.ours: fields[row.ours] for row in _part_options(parts)}


def _part_options(parts: dict[str, Any]) -> list[Option]:
    """The options that parts have beside their kind."""
    return [row for kind in parts.values() for row in PART_OPTIONS.get(kind, ())]


def _rope(config: dict[str, Any], architecture: str) -> dict[str, Any]:
    """The fields of rotary positions, from transformers 5's `rope_parameters` or the names of transformers 4."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(rope, dict):
        raise ValueError(f"rope_parameters must be an object, got {rope!r:.80}")
    found: dict[str, Any] = {}
    if architecture == "gemma3_text":                          # layers with a window have frequencies of their own
        local = rope.get("sliding_attention") or {}
        rope = rope.get("full_attention") or ({} if local else rope)
        if not isinstance(local, dict) or not isinstance(rope, dict) or local.get("rope_type", "default") != "default":
            raise ValueError(f"rope_parameters={config.get('rope_parameters')!r:.120} is not supported; supported: an "
                             "object for each of full_attention and sliding_attention, the second of type 'default'")
        theta = local.get("rope_theta", config.get("rope_local_base_freq"))
        found["local_rope_theta"] = _convert("rope_local_base_freq", "number", 1e4 if theta is None else theta)
    theta = rope.get("rope_theta", config.get("rope_theta", config.get("rotary_emb_base")))
    kind = rope.get("rope_type", rope.get("type", "default"))
    share = rope.get("partial_rotary_factor", config.get("rotary_pct"))
    if architecture == "gpt_neox":
        found["rotary_share"] = _convert("rotary_pct", "number", 0.25 if share is None else share)
    elif share not in (None, 1, 1.0):
        raise ValueError(f"partial_rotary_factor={share!r:.80} is not supported; only 1.0 is")
    scaling = {name: value for name, value in rope.items()
               if name not in ("type", "rope_type", "rope_theta", "partial_rotary_factor")}
    default = THETAS.get(architecture, 1e4)
    return found | {"rope_theta": _convert("rope_theta", "number", default if theta is None else theta),
                    "rope_scaling": None if kind == "default" else {"rope_type": kind, **scaling}}


def _layers(config: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """What each block looks at, for architectures whose blocks differ."""
    architecture, n = fields["architecture"], fields["n_layer"]
    if n > MAX_LAYERS:
        raise ValueError(f"num_hidden_layers={n} is more than the {MAX_LAYERS:,} that are read")
    if architecture == "smollm3":
        every = config.get("no_rope_layer_interval", 4)
        turned = config.get("no_rope_layers")                  # 1 where positions do turn, whatever its name says
        if turned is None and _is_integer(every) and every > 0:
            turned = [int((i + 1) % every != 0) for i in range(n)]
        if not isinstance(turned, list) or len(turned) != n or not all(i in (0, 1) for i in turned):
            raise ValueError(f"no_rope_layers must be {n} numbers 0 or 1, got {turned!r:.80}")
        return {"layers": tuple("full" if i else "still" for i in turned)}
    gemma = architecture == "gemma3_text"
    used = gemma or config.get("use_sliding_window") is True
    window = fields["window"] if used else None
    kinds = config.get("layer_types")
    if kinds is None:
        first, pattern = config.get("max_window_layers", 28), config.get("sliding_window_pattern", 6)
        if not _is_integer(first) or not _is_integer(pattern) or pattern < 1:
            raise ValueError(f"max_window_layers and sliding_window_pattern must be integers, got {first!r:.80} and "
                             f"{pattern!r:.80}")
        kinds = ["sliding_attention" if (bool((i + 1) % pattern) if gemma else window is not None and i >= first)
                 else "full_attention" for i in range(n)]
    if not isinstance(kinds, list) or len(kinds) != n or not all(str(kind) in LAYER_TYPES for kind in kinds):
        raise ValueError(f"layer_types must name one of {', '.join(LAYER_TYPES)} for each of the {n} layers, "
                         f"got {kinds!r:.80}")
    return {"window": window if "sliding_attention" in kinds else None,  # of no layer, it says nothing
            "layers": tuple(LAYER_TYPES[kind] for kind in kinds)}


def _t5(config: dict[str, Any]) -> dict[str, Any]:
    """T5's feed-forward layer, and whether the output's matrix is the token embedding: then its input is scaled, by
    which transformers 5 tells the two."""
    name = config.get("feed_forward_proj", "relu")
    gated = isinstance(name, str) and name.startswith(GATED)
    activation = "gelu_new" if name == "gated-gelu" else name.removeprefix(GATED) if gated else name
    scaled = config.get("scale_decoder_outputs", config.get("tie_word_embeddings"))
    return {"feed_forward": "gated" if gated else "plain",
            "activation": _convert("feed_forward_proj", "activation", activation),
            "tie_word_embeddings": scaled is None or _convert("scale_decoder_outputs", "flag", scaled)}


def _their_t5(fields: dict[str, Any]) -> dict[str, Any]:
    """What `_t5` reads."""
    gated = fields.get("feed_forward") == "gated"
    names = [theirs for theirs, ours in ACTIVATIONS.items() if ours == fields["activation"]]
    if gated:  # "gated-gelu" means the other one
        names = {"gelu_tanh": ["gelu"], "gelu": ["gelu_python"]}.get(fields["activation"], names)
    return {"feed_forward_proj": GATED * gated + names[0], "scale_decoder_outputs": fields["tie_word_embeddings"]}


def _suppressed(words: Any) -> tuple[int, ...]:
    """`bad_words_ids`, a list of token sequences never to generate, of which single tokens are supported."""
    if not isinstance(words, list) or not all(isinstance(word, list) and len(word) == 1 and _is_integer(word[0])
                                              for word in words):
        raise ValueError(f"bad_words_ids={words!r:.80} is not supported; supported: a list of single tokens, [[id], …]")
    return tuple(word[0] for word in words)


def _not_followed(settings: dict[str, Any], without_rules: tuple[str, ...]) -> str | None:
    """What a folder asks of generation and does not get by itself, in one sentence; None if there is nothing."""
    def asked(neutral: dict[str, tuple[Any, ...]]) -> list[str]:
        return [f"{name}={settings[name]!r:.40}" for name, values in neutral.items()
                if settings.get(name) is not None and settings[name] not in values]

    arguments = asked(ARGUMENTS)
    if any(words.startswith("num_beams") for words in arguments):
        arguments += asked(WITH_BEAMS)
    absent = asked(NOT_FOLLOWED | {name: (0, []) for name in without_rules})
    parts = [f"{', '.join(arguments)} only where `generate` is given them"] * bool(arguments) \
        + [f"{', '.join(absent)} not at all"] * bool(absent)
    return f"of the folder's settings for generation, tinygpt follows {' and '.join(parts)}" if parts else None


def _fields(config: dict[str, Any], generation: dict[str, Any]) -> dict[str, Any]:
    architecture, head = _architecture_and_head(config)
    if config.get("quantization_config") is not None:
        raise ValueError(f"quantization_config={config['quantization_config']!r:.80}: quantised weights are not read; "
                         "take the files of the model that are not quantised, or a GGUF file of it")
    for name, only in FIXED[architecture].items():
        if config.get(name) is not None and config[name] != only:
            raise ValueError(f"{name}={config[name]!r:.80} is not supported; supported: {only!r}")
    config = config | {name: generation[name] for name in GENERATION if name in generation}
    fields: dict[str, Any] = {"architecture": architecture}
    for row in OPTIONS[architecture]:
        value = config.get(row.theirs, row.default)
        if value is None and row.kind in ("size", "count", "number", "flag", "activation"):
            value = row.default                                # null where a value must be: as if it were absent
        fields[row.ours] = _convert(row.theirs, row.kind, value)
    if config.get("model_type") == OWN_TYPE:
        parts = {name: _convert(name, kind, config[name]) for name, kind in PARTS.items() if name in config}
        fields |= parts | {row.ours: _convert(row.ours, row.kind, config.get(row.ours, row.default))
                           for row in _part_options(parts)}
    if architecture in DECODERS:                               # defaults such as 50256 that a small vocabulary lacks
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            ids = fields[name] if isinstance(fields[name], tuple) else (fields[name],)
            if any(i is not None and not 0 <= i < fields["vocab_size"] for i in ids):
                fields[name] = None
    if architecture == "t5":
        fields |= _t5(config)
    if _turns(fields):
        fields |= _rope(config, architecture)
    if architecture in (*WITH_WINDOWS, "smollm3"):
        fields |= _layers(config, fields)
    if architecture == "gemma3_text":
        fields["attention_scale"] = max(fields.pop("query_scale"), 1e-30) ** -0.5
    if architecture in ALWAYS_BIASED:
        fields["bias"] = True
    if head is None and architecture in DECODERS and fields["tie_word_embeddings"]:
        head = "lm"                                            # the embedding is an output as well
    if architecture in COUNTS_TOKENS:                          # positions begin after the padding's row
        fields["block_size"] -= (fields["pad_token_id"] or 0) + 1
        if fields["block_size"] < 1:
            raise ValueError("max_position_embeddings must exceed pad_token_id + 1 in a RoBERTa folder")
    if architecture in ENCODER_DECODERS:
        fields["suppress_token_ids"] = _suppressed(generation.get("bad_words_ids") or config.get("bad_words_ids") or [])
        asked = generation or config                           # where there is the one, the other is not asked
        fields |= {name: _convert(name, "count", asked.get(name) or 0) for name in RULES}
        renormalize = generation.get("renormalize_logits", config.get("renormalize_logits"))
        fields["renormalize_logits"] = renormalize is not None and _convert("renormalize_logits", "flag", renormalize)
    else:
        fields["head"] = head
    if head == "classification":
        fields |= _labels(config)
    return fields


def fields_of(config: dict[str, Any], generation: dict[str, Any], where: Path) -> dict[str, Any]:
    """The fields that a config.json and a generation_config.json give; errors begin with `where` they come from."""
    try:
        return _fields(config, generation)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _turns(fields: dict[str, Any]) -> bool:
    """Whether the model's positions are rotary."""
    return fields["positions"] == "rotary" if fields.get("positions") else fields["architecture"] in THETAS


def _labels(config: dict[str, Any]) -> dict[str, Any]:
    names, problem = config.get("id2label"), config.get("problem_type")
    if problem is not None and problem not in PROBLEM_TYPES:
        raise ValueError(f"problem_type={problem!r:.80} is not supported; supported: {', '.join(PROBLEM_TYPES)}")
    if names is None:
        return {"n_labels": _convert("num_labels", "size", config.get("num_labels", 2)), "problem_type": problem}
    if not isinstance(names, dict) or not names or sorted(names) != sorted(map(str, range(len(names)))):
        raise ValueError(f"id2label must number the labels \"0\", \"1\", …, got {names!r:.80}")
    labels = {int(key): str(label) for key, label in names.items()}
    return {"n_labels": len(names), "id2label": labels, "problem_type": problem}


def read_config(folder: str | Path) -> dict[str, Any]:
    """The fields of the configuration that a Hugging Face folder describes, with `architecture` and `head`.

    generation_config.json, where there is one, has the last word on token ids, as in transformers.
    Where config.json is of our own type, what deviates from the layout is among the fields (`config_fields.PARTS`).
    Llama's fields have `attention_bias` and `mlp_bias` instead of `bias`.

    A warning names what the folder asks of generation and does not get by itself.

    Raises:
        FileNotFoundError: no config.json.
        ValueError: not JSON; an architecture or an option that is not supported, with what is.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is no model folder: it holds no {CONFIG}")
    generation_path = path.with_name(GENERATION_CONFIG)
    config, generation = read_json(path), read_json(generation_path) if generation_path.is_file() else {}
    fields = fields_of(config, generation, path)
    encoder_decoder = fields["architecture"] in ENCODER_DECODERS
    if encoder_decoder or fields["head"] == "lm":
        if words := _not_followed(generation or config, () if encoder_decoder else (*RULES, "bad_words_ids")):
            warnings.warn(f"{folder}: {words}", stacklevel=2)
    return fields


def _their_value(row: Option, fields: dict[str, Any]) -> Any:
    if row.ours == "query_scale":
        width = fields["head_dim"] if fields["attention_scale"] is None else fields["attention_scale"] ** -2
        return round(width) if abs(width - round(width)) < 1e-6 * width else width
    value = fields["bias"] if row.ours in ("attention_bias", "mlp_bias") else fields[row.ours]
    if row.kind == "activation":
        return next(theirs for theirs, ours in ACTIVATIONS.items() if ours == value)
    return list(value) if isinstance(value, tuple) else value


def write_config(folder: str | Path, fields: dict[str, Any]) -> None:
    """Write config.json, and generation_config.json for what generates, so that transformers 4 and 5 read them.

    A model with parts that they have no class for is written for `read_config` alone: see `_deviating`.
    """
    architecture, head, deviating = fields["architecture"], fields.get("head", "lm"), _deviating(fields)
    config: dict[str, Any] = {"model_type": OWN_TYPE, "layout": architecture, "head": head} | deviating \
        if deviating or architecture in OWN \
        else {"model_type": architecture, "architectures": [CLASSES[architecture][head][0]]}
    config["dtype"] = "float32"
    for row in OPTIONS[architecture]:
        if row.kind == "activation" and "activation" in deviating:
            continue
        config |= dict.fromkeys((row.theirs, *row.also), _their_value(row, fields))
    if _turns(fields):
        theta, scaling = fields["rope_theta"], fields["rope_scaling"]
        rope = {"rope_type": "default", "rope_theta": theta} | (scaling or {})
        config |= {"rope_theta": theta, "rope_scaling": scaling, "rope_parameters": rope}
        if architecture == "gpt_neox":
            share = 1.0 if fields["rotary_share"] is None else fields["rotary_share"]
            rope["partial_rotary_factor"] = share
            config |= {"rotary_pct": share, "rotary_emb_base": theta}
        if architecture == "gemma3_text":
            local = theta if fields["local_rope_theta"] is None else fields["local_rope_theta"]
            config |= {"rope_local_base_freq": local, "rope_parameters": {
                "full_attention": rope, "sliding_attention": {"rope_type": "default", "rope_theta": local}}}
    if architecture in WITH_WINDOWS:
        theirs = {ours: theirs for theirs, ours in LAYER_TYPES.items()}
        config["layer_types"] = [theirs[kind] for kind in fields["layers"]]
        if architecture != "gemma3_text":
            config |= {"use_sliding_window": "window" in fields["layers"], "max_window_layers": fields["n_layer"]}
    if architecture == "smollm3":
        config |= {"no_rope_layers": [int(kind == "full") for kind in fields["layers"]], "use_sliding_window": False}
    if architecture in COUNTS_TOKENS:
        config["max_position_embeddings"] += fields["pad_token_id"] + 1
    if architecture in ENCODER_DECODERS:
        config["is_encoder_decoder"] = True
    if architecture == "t5":
        config |= _their_t5(fields)
    if head == "classification":
        config |= {"id2label": {str(i): label for i, label in fields["id2label"].items()},
                   "label2id": {label: i for i, label in fields["id2label"].items()}}
        if fields["problem_type"] is not None:
            config["problem_type"] = fields["problem_type"]
    write_json(Path(folder) / CONFIG, config)
    if head != "lm":
        (Path(folder) / GENERATION_CONFIG).unlink(missing_ok=True)  # another model's, which would have the last word
    else:
        generation = {name: config[name] for name in GENERATION if config.get(name) is not None}
        if fields.get("suppress_token_ids"):
            generation["bad_words_ids"] = [[i] for i in fields["suppress_token_ids"]]
        generation |= {name: fields[name] for name in RULES if fields.get(name)}
        if fields.get("renormalize_logits"):
            generation["renormalize_logits"] = True
        write_json(Path(folder) / GENERATION_CONFIG, generation)
