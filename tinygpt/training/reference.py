"""The model that training may not go too far from: another one, or the one that training began with.

With adapters the latter costs no memory: it is the model without them. Otherwise it is read from its folder again. A
fingerprint of it stands in the state of the run, so that a resumed run compares with the same model or not at all.

Prerequisites: nn/lora.py, models/adapter.py. Next: rollouts.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..models import GPT, load_model
from ..models.adapter import fingerprint
from ..nn.lora import without_adapters
from ..pretrained import resolve_folder

__all__ = ["Reference"]


class Reference:
    """A model to compare with.

    Args:
        options: of the run: `reference` or `model` names the folder, `lora` says whether there are adapters.
        model: the one that is trained.
        memory: of the objective; takes the fingerprint.
    """

    def __init__(self, options: Any, model: Any, memory: dict[str, Any]) -> None:
        self.trained, self.memory = model, memory
        self.name = options.reference or (None if options.lora is not None else options.model)
        self._loaded: Any = None

    def at_hand(self) -> bool:
        """Whether it can be had: its folder may be gone by now."""
        if self.name is None or self._loaded is not None:
            return True
        try:
            return Path(resolve_folder(self.name)).exists()
        except (OSError, ImportError):
            return False

    @contextmanager
    def use(self) -> Iterator[Any]:
        """Inside the block, the reference; the trained model is not to be used there.

        Raises:
            FileNotFoundError: its folder is gone.
            ValueError: it is no decoder with the vocabulary of the one that is trained, or another one than the run
                began with.
        """
        if self.name is None:
            with without_adapters(self.trained):
                yield self.trained
            return
        if self._loaded is None:
            self._loaded = self._load(self.name)
        yield self._loaded

    def _load(self, name: str) -> Any:
        model = load_model(name, device=self.trained.device)
        if not isinstance(model, GPT) or model.config.head != "lm" \
                or model.config.vocab_size != self.trained.config.vocab_size:
            raise ValueError(f"the reference {name} must be a decoder with a vocabulary of "
                             f"{self.trained.config.vocab_size:,}, as the model that is trained")
        found = fingerprint(model.named_parameters())
        if self.memory.setdefault("reference", found) != found:
            raise ValueError(f"the reference {name} is not the model any more that this run began with; put it "
                             "back, or start another run with a new --out")
        return model
