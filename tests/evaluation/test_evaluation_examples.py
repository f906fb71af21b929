"""The examples in the docstrings of this package and of the synthetic data run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import tinygpt.data.synthetic
import tinygpt.evaluation

NAMES = [f"{package.__name__}.{module.name}" for package in (tinygpt.evaluation, tinygpt.data.synthetic)
         for module in pkgutil.iter_modules(package.__path__)]


@pytest.mark.parametrize("name", NAMES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
