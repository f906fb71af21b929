"""PretrainedModel: a model that is made from a configuration and lives in a Hugging Face folder.

Prerequisites: inputs.py, pretrained/folder.py. Next: causal.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ..backend import resolve_device, to_device, to_numpy
from ..nn import Module
from ..nn.blank import blank
from ..pretrained import read_folder, resolve_folder, write_folder
from .config_base import Configuration

if TYPE_CHECKING:
    from ..tokenizers.base import Tokenizer

__all__ = ["FROM_CONFIG", "PretrainedModel"]

FROM_CONFIG: Any = object()  # "what the configuration says", where None means "none"
NOTHING = np.empty(0, np.float32)


class PretrainedModel(Module):
    """What all models share: a configuration, and a folder to be loaded from and saved to.

    Attributes:
        config: sizes and layout.
    """

    config_class: ClassVar[type[Configuration]]
    config: Any  # of the class that `config_class` names

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, device: str | None = None, dtype: Any = None) -> Self:
        """Load config.json and the safetensors weights of a folder, ready to be used (`eval`).

        Args:
            folder: a path; or, with the `hub` extra, a name on the Hugging Face Hub such as "openai-community/gpt2".
            device: where to put the weights; None for the default device.
            dtype: what to convert them to, "bfloat16" say: half the memory, on a GPU, of a model that is only used.

        Raises:
            FileNotFoundError: no such folder, or a file is missing in it.
            ValueError: the folder holds another kind of model, or something in it is unsupported or damaged.
            DeviceError: no such device, or no such dtype on it.
        """
        model = cls.from_fields(*read_folder(resolve_folder(folder)), device=device, where=str(folder))
        return model if dtype is None else model.to(dtype=dtype)

    @classmethod
    def from_fields(cls, fields: dict[str, Any], state: Mapping[str, np.ndarray], *, device: str | None = None,
                    where: str = "the folder") -> Self:
        """The model of a configuration's fields with the given weights; what `read_folder` gives.

        The arrays become the model's own, and are asked for one by one, each after the array in its place is gone: so
        a large model needs memory for its weights and little more.
        """
        if fields["architecture"] not in cls.config_class.ARCHITECTURES:
            raise ValueError(f"{where} holds a {fields['architecture']!r} model, and {cls.__name__} is for "
                             + " or ".join(cls.config_class.ARCHITECTURES)
                             + "; tinygpt.load_model picks the class itself")
        config = cls.config_class(**fields)
        with blank():
            model = cls(config)  # type: ignore[call-arg]
        parameters = dict(model.named_parameters())
        if parameters.keys() != state.keys():
            model.load_state_dict(state)  # which raises, and says what does not fit
        place = model.device if device is None else resolve_device(device)
        for name, parameter in parameters.items():
            shape, parameter.data = parameter.shape, NOTHING
            value = state[name]
            if value.shape != shape:
                raise ValueError(f"{where}: {name} has shape {list(value.shape)}, expected {list(shape)}")
            parameter.data = to_device(value, place)
        return model.eval()

    def with_options(self, **changes: Any) -> Self:
        """A new model of the same class whose configuration has these fields changed.

        Parameters that keep their name and shape are copied; all others are new, and so are drawn at random.
        """
        model = type(self)(replace(self.config, **changes))  # type: ignore[call-arg]
        own = self.state_dict()
        model.load_state_dict({name: own[name] if name in own and own[name].shape == array.shape else array
                               for name, array in model.state_dict().items()})
        return model.to(self.device, dtype=self.dtype).train(self.training)

    def check_tokenizer(self, n_tokens: int, name: str = "the tokenizer") -> None:
        """Raise ValueError if a tokenizer of so many tokens is another model's; `name` is what the message calls it."""
        size: int = self.config.vocab_size
        if n_tokens > size:
            raise ValueError(f"{name} is of another model: it has {n_tokens} tokens, and the model {size}")

    def save_pretrained(self, folder: str | Path, tokenizer: Tokenizer | None = None) -> None:
        """Write config.json and model.safetensors, and the tokenizer's files if there is one, as transformers reads
        them. Each file is replaced in one step."""
        state = {name: to_numpy(value) for name, value in self.state_dict().items()}
        write_folder(folder, self.config.to_dict(), state)
        if tokenizer is not None:
            tokenizer.save(folder)
