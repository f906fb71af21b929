"""Hugging Face folders in and out, as dicts of arrays: no model class is known here.

Read `safetensors_file.py` (the file format, read without trust), `shards.py`, `config_fields.py` and
`config_json.py` (config.json), `names.py` and `tables.py` (one name table a family); `gguf_quants.py`, `gguf_file.py`
and `gguf_model.py` (a GGUF file, as the folder that it was made from); then `folder.py` (all of it together),
`packages.py` and `hub.py` (models by name).
"""

from .folder import read_folder, write_folder
from .hub import resolve_folder, resolve_tokenizer
from .safetensors_file import SafetensorsFile, write_safetensors

__all__ = ["read_folder", "write_folder", "resolve_folder", "resolve_tokenizer", "SafetensorsFile",
           "write_safetensors"]
