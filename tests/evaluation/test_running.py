"""A model that is measured is in evaluation mode, and afterwards as it was, part by part."""

from __future__ import annotations

import pytest

from tinygpt.evaluation import evaluating
from tinygpt.nn import Dropout, Module


class Two(Module):
    def __init__(self) -> None:
        self.first, self.second = Dropout(0.5), Dropout(0.5)


@pytest.mark.parametrize("modes", [(True, True), (True, False), (False, False)])
def test_each_part_is_as_it_was(modes):
    model = Two()
    model.first.training, model.second.training = modes
    model.training = True
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert (model.first.training, model.second.training, model.training) == (*modes, True)


def test_also_after_an_error():
    model = Two()
    with pytest.raises(RuntimeError, match="broken"), evaluating(model):
        raise RuntimeError("broken")
    assert all(module.training for module in model.modules())
