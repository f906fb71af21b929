"""Module: attributes are the registry; state, modes, conversion, the printed tree."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.autograd import Tensor
from tinygpt.nn import (Block, Dropout, Embedding, FeedForward, LayerNorm, Linear, Module, MultiHeadAttention,
                        Parameter)
from tinygpt.optim import AdamW, FlatParameters

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


class Leaf(Module):
    def __init__(self, shape: tuple[int, ...], value: float) -> None:
        self.weight = Parameter(np.full(shape, value, dtype=np.float32))


class Tree(Module):
    def __init__(self, shapes: list[tuple[int, ...]]) -> None:
        self.parts = [Leaf(shape, i) for i, shape in enumerate(shapes)]
        self.pair = (Leaf((2,), 10.0), Leaf((3,), 11.0))
        self.free = [Parameter(np.zeros(5, dtype=np.float32))]
        self.number, self.name, self.nothing = 3, "tree", None


class Tied(Module):
    """Token embedding and output projection share one matrix."""

    def __init__(self) -> None:
        self.embedding = Embedding(7, 4)
        self.head = Linear(4, 7)
        self.head.weight = self.embedding.weight

    def forward(self, ids: np.ndarray) -> Tensor:
        return self.head(self.embedding(ids))


@given(st.lists(shapes, max_size=5))
@settings(deadline=None, max_examples=40, derandomize=True)
def test_every_attribute_that_is_a_parameter_or_module_is_found_by_its_path(sizes):
    tree = Tree(sizes)
    expected = {"free.0": (5,)}
    expected |= {f"parts.{i}.weight": shape for i, shape in enumerate(sizes)}
    expected |= {"pair.0.weight": (2,), "pair.1.weight": (3,)}
    assert {name: p.shape for name, p in tree.named_parameters()} == expected
    assert list(tree.parameters()) == [p for _, p in tree.named_parameters()]
    assert tree.n_parameters == sum(int(np.prod(shape)) for shape in expected.values())
    assert [name for name, _ in tree.named_modules()] == ["", *(f"parts.{i}" for i in range(len(sizes))),
                                                          "pair.0", "pair.1"]
    assert next(tree.modules()) is tree


def test_attributes_set_replaced_and_deleted_later_count_as_they_are_now():
    module = Module()
    module.a = Leaf((2,), 1.0)
    assert [name for name, _ in module.named_parameters()] == ["a.weight"]
    module.a = Leaf((3,), 2.0)
    module.b = Parameter(np.ones(1))
    assert module.n_parameters == 4
    del module.a
    assert list(module.state_dict()) == ["b"]


def test_a_shared_parameter_stands_once_under_its_first_name_and_gathers_both_gradients():
    model = Tied()
    assert [name for name, _ in model.named_parameters()] == ["embedding.weight", "head.bias"]
    assert model.n_parameters == 28 + 7
    ids = np.array([1, 1, 3])
    model(ids).sum().backward()
    w = model.embedding.weight.data.astype(np.float64)
    expected = np.tile(w[ids].sum(0), (7, 1))  # as the projection: each output row sees every input
    np.add.at(expected, ids, w.sum(0))  # as the embedding
    np.testing.assert_allclose(model.embedding.weight.grad, expected, atol=1e-6)


def test_a_module_without_forward_says_so():
    with pytest.raises(TypeError, match="Module has no forward method"):
        Module()(1)


# -- state ------------------------------------------------------------------------------------------------------------


@given(st.lists(shapes, max_size=4), st.sampled_from(["float32", "float64"]), st.integers(0, 99))
@settings(deadline=None, max_examples=30, derandomize=True)
def test_state_dict_round_trip(sizes, dtype, seed):
    rng = np.random.default_rng(seed)
    source, target = Tree(sizes), Tree(sizes).to(dtype=dtype)
    for p in source.parameters():
        p.data[...] = rng.standard_normal(p.shape)
    target.load_state_dict(source.state_dict())
    for (name, a), b in zip(source.named_parameters(), target.parameters()):
        assert b.dtype == dtype
        np.testing.assert_array_equal(a.data, b.data)
        assert not np.shares_memory(a.data, b.data)
        assert source.state_dict()[name] is a.data  # the arrays themselves


def test_state_may_be_tensors_or_lists_and_goes_into_homes():
    leaf = Leaf((2,), 0.0)
    leaf.load_state_dict({"weight": Tensor([1.0, 2.0])})
    np.testing.assert_array_equal(leaf.weight.data, [1, 2])
    flat = FlatParameters(leaf)
    leaf.load_state_dict({"weight": [3, 4]})
    np.testing.assert_array_equal(flat.data, [3, 4])
    assert np.shares_memory(leaf.weight.data, flat.data)


@pytest.mark.parametrize("change, message", [
    (lambda s: s.pop("0.bias"), r"0\.bias \[4\] is missing"),
    (lambda s: s.update(extra=np.zeros(1)), "extra is not part of the model"),
    (lambda s: s.update({"0.weight": np.zeros((4, 4))}), r"0\.weight has shape \[4, 4\], expected \[4, 3\]"),
    (lambda s: s.update({"0.weigth": s.pop("0.weight")}),
     r"0\.weight \[4, 3\] is missing \(there is 0\.weigth\); 0\.weigth is not part of the model"),
    (lambda s: s.clear(), "missing.*missing"),
])
def test_state_that_does_not_fit_names_every_problem_and_changes_nothing(change, message):
    model = Module()
    setattr(model, "0", Linear(3, 4))
    model.norm = LayerNorm(4)
    before = {name: value.copy() for name, value in model.state_dict().items()}
    state = {name: value + 1 for name, value in before.items()}
    change(state)
    with pytest.raises(ValueError, match=message):
        model.load_state_dict(state)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_of_many_problems_eight_are_told():
    with pytest.raises(ValueError, match=r"\(and 12 more\)") as error:
        Module().load_state_dict({f"w{i}": np.zeros(1) for i in range(20)})
    assert str(error.value).count(";") == 7


# -- modes, devices, dtypes -------------------------------------------------------------------------------------------


def test_train_and_eval_reach_every_module_and_return_the_module():
    block = Block(MultiHeadAttention(8, 2, dropout=0.5), FeedForward(8, 16), lambda: LayerNorm(8), dropout=0.5)
    assert all(module.training for module in block.modules())
    assert block.eval() is block and not any(module.training for module in block.modules())
    assert block.train() is block and all(module.training for module in block.modules())


def test_to_converts_data_and_gradients_and_keeps_sharing():
    model = Tied()
    model(np.array([0, 1])).sum().backward()
    gradient = model.embedding.weight.grad.copy()
    assert model.to("cpu", dtype="float64") is model
    assert model.dtype == np.float64 and model.device == "cpu"
    assert all(p.grad.dtype == np.float64 for p in model.parameters())
    np.testing.assert_array_equal(model.embedding.weight.grad, gradient)
    assert model.head.weight is model.embedding.weight
    assert model(np.array([0])).dtype == np.float64


def test_a_module_without_parameters_has_the_default_dtype_and_device():
    assert Module().dtype == np.float32 and Module().device == "cpu" and Module().n_parameters == 0


def test_an_unknown_device_is_refused_before_anything_moves():
    with pytest.raises(ValueError, match="unknown device 'gpu'"):
        Linear(2, 2).to("gpu")


def test_a_deep_copy_is_independent_and_keeps_ties():
    model = Tied()
    twin = copy.deepcopy(model)
    assert twin.head.weight is twin.embedding.weight
    twin.embedding.weight.data[...] = 0
    assert model.embedding.weight.data.any()


# -- homes ------------------------------------------------------------------------------------------------------------


def test_with_a_home_data_and_grad_are_copied_into_never_rebound():
    p = Parameter(np.zeros(3, dtype=np.float32))
    flat = FlatParameters([p])
    home, gradient = p.data, p.grad
    p.data = np.arange(3)
    assert p.data is home
    np.testing.assert_array_equal(flat.data, [0, 1, 2])
    p.grad = np.ones(3)
    assert p.grad is gradient
    np.testing.assert_array_equal(flat.grad, 1)
    p.grad = None
    np.testing.assert_array_equal(flat.grad, 0)
    with pytest.raises(ValueError, match=r"shape \(3,\) cannot take an array of shape \(2,\)"):
        p.data = np.zeros(2)
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        p.grad = np.zeros((3, 1))


def test_with_a_home_backward_adds_into_the_gradient_where_it_stands():
    layer = Linear(2, 2)
    flat = FlatParameters(layer)
    for n in (1, 2):
        layer(Tensor(np.ones((3, 2), dtype=np.float32))).sum().backward()
        assert np.shares_memory(layer.weight.grad, flat.grad)
        np.testing.assert_array_equal(flat.grad, 3 * n)


def test_with_a_home_moving_and_freezing_are_refused():
    layer = Linear(2, 2)
    flat = FlatParameters(layer)
    for move in (lambda: layer.to("cpu"), lambda: layer.to(dtype="float64")):
        with pytest.raises(ValueError, match="FlatParameters holds these parameters"):
            move()
    with pytest.raises(ValueError, match="cannot be frozen or unfrozen"):
        layer.weight.requires_grad = False
    layer.weight.requires_grad = True  # as it is already
    assert flat.size == 6


def test_frozen_parameters_get_no_gradient_and_stay_out_of_flat_parameters():
    layer = Linear(2, 2)
    layer.weight.requires_grad = False
    layer(Tensor(np.ones((1, 2), dtype=np.float32))).sum().backward()
    assert layer.weight.grad is None and layer.bias.grad is not None
    assert FlatParameters(layer).names == ("bias",)


# -- copies -----------------------------------------------------------------------------------------------------------


COPIES = {"copy.deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}


def learn(model: Tied, optimizer: AdamW) -> None:
    model(np.array([1, 1, 3])).sum().backward()
    optimizer.step(lr=0.1)
    optimizer.zero_grad()


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_of_model_and_optimizer_learns_by_itself(how):
    model = Tied()
    optimizer = AdamW(model)
    learn(model, optimizer)  # so that there are moments to copy
    before = {name: value.copy() for name, value in model.state_dict().items()}
    twin, its_optimizer = COPIES[how]((model, optimizer))
    assert twin.head.weight is twin.embedding.weight
    for name, value in twin.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
        assert np.shares_memory(value, its_optimizer.flat.data)
    learn(twin, its_optimizer)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert all((value != before[name]).any() for name, value in twin.state_dict().items())
    learn(model, optimizer)  # the same moments, the same step
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, twin.state_dict()[name])


@pytest.mark.parametrize("how", COPIES)
def test_a_model_that_is_copied_alone_can_be_frozen_and_moved(how):
    model = Tied()
    optimizer = AdamW(model)
    learn(model, optimizer)
    model(np.array([2])).sum().backward()
    before = model.embedding.weight.data.copy()
    twin = COPIES[how](model)
    assert twin.head.weight is twin.embedding.weight
    np.testing.assert_array_equal(twin.embedding.weight.grad, model.embedding.weight.grad)
    twin.to(dtype="float64")
    twin.head.bias.requires_grad = False
    assert twin.dtype == np.float64 and model.dtype == np.float32
    twin.embedding.weight.grad = None
    twin(np.array([1])).sum().backward()
    assert twin.embedding.weight.grad.dtype == np.float64
    twin.embedding.weight.data[...] = 0
    np.testing.assert_array_equal(model.embedding.weight.data, before)
    assert FlatParameters(twin).names == ("embedding.weight",)  # it may have a home of its own


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_keeps_what_is_frozen_and_what_dropout_and_modes_are(how):
    block = Block(MultiHeadAttention(8, 2, dropout=0.5), FeedForward(8, 16), lambda: LayerNorm(8), dropout=0.25).eval()
    block.attention.qkv.bias.requires_grad = False
    twin = COPIES[how](block)
    assert not twin.attention.qkv.bias.requires_grad and twin.attention.qkv.weight.requires_grad
    assert not twin.training and not twin.attention.weights_dropout.training and twin.dropout.p == 0.25


# -- the tree, printed ------------------------------------------------------------------------------------------------


def test_repr_is_a_tree_with_shapes_counts_ties_and_runs_of_equal_modules():
    model = Tied()
    model.head.bias.requires_grad = False
    model.dropout = Dropout(0.1)
    model.blocks = [Linear(2, 2, bias=False) for _ in range(3)] + [Linear(2, 3, bias=False)]
    assert repr(model).splitlines() == [
        "Tied  53 parameters",
        "  embedding: Embedding  28",
        "    weight [7, 4]  28",
        "  head: Linear  35",
        "    weight [7, 4]  tied",
        "    bias [7]  7 frozen",
        "  dropout: Dropout  0",
        "  blocks.0 … 2: Linear  4 each",
        "    weight [2, 2]  4",
        "  blocks.3: Linear  6",
        "    weight [3, 2]  6",
    ]


def test_repr_joins_no_modules_of_two_lists_nor_two_attributes():
    model = Module()
    model.first, model.second = [Dropout(0.1), Dropout(0.1)], [Dropout(0.1)]
    model.norm1, model.norm = Dropout(0.1), Dropout(0.1)
    assert repr(model).splitlines()[1:] == [
        "  first.0 … 1: Dropout  0 each", "  second.0: Dropout  0", "  norm1: Dropout  0", "  norm: Dropout  0"]
