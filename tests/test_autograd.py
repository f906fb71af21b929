"""The engine: what a Tensor is, the walk backwards, accumulation, freed graphs, no_grad, the checks on rules, twins."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import threading
import tracemalloc
import weakref

import fake_device  # noqa: F401  (registers the device "fake")
import numpy as np
import pytest

import tinygpt as tg
from tinygpt import autograd, kernels, ops
from tinygpt.autograd import OPS, differentiable
from tinygpt.engine.dispatch import Dispatch, twins_of


def leaf(*shape, dtype=np.float64, seed=0):
    return tg.Tensor(np.random.default_rng(seed).standard_normal(shape).astype(dtype), requires_grad=True)


@pytest.fixture
def no_gc():
    """Whatever is freed in the test is freed by reference counts."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def own_rule():
    """Enters rules and takes them out of OPS again."""
    before = dict(OPS)
    yield differentiable
    OPS.clear()
    OPS.update(before)


# -- what a Tensor is -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data, dtype", [
    (1, np.int64), (1.5, np.float64), (True, np.bool_), (1j, np.complex128), ([1, 2], np.int64), ([[1.0], [2.0]], "d"),
    (np.float32(2), np.float32), (np.ones(2, np.float32), np.float32), (np.ones(2, np.uint16), np.uint16)])
def test_construction_keeps_the_dtype(data, dtype):
    x = tg.Tensor(data)
    assert x.dtype == dtype and x.shape == np.shape(data) and not x.requires_grad and x.grad is None
    np.testing.assert_array_equal(x.numpy(), data)


def test_construction_shares_and_converts():
    a = np.ones(3)
    assert tg.Tensor(a).data is a
    assert tg.Tensor(a, dtype=np.float32).dtype == np.float32
    assert tg.Tensor(tg.Tensor(a)).data is a
    assert (tg.Tensor(a).ndim, tg.Tensor(a).size) == (1, 3)


@pytest.mark.parametrize("data", ["text", ["a", "b"], np.array(["a"]), None, np.array([None]), object(),
                                  np.zeros(2, dtype=[("a", "f4")]), np.array(["2020-01-01"], dtype="datetime64[D]")])
def test_what_is_no_number_is_refused(data):
    with pytest.raises(TypeError, match="Tensor: expected numbers, got .* data"):
        tg.Tensor(data)


@pytest.mark.parametrize("dtype", [np.int64, np.bool_, np.uint8])
def test_gradients_need_floating_point(dtype):
    with pytest.raises(TypeError, match="requires_grad needs floating-point data, got"):
        tg.Tensor(np.ones(2, dtype), requires_grad=True)


def test_items_are_not_assigned():
    with pytest.raises(TypeError, match="items cannot be assigned.*where"):
        leaf(3)[0] = 1.0


def test_detach_shares_the_data():
    x = leaf(3)
    y = (x * 2).detach()
    assert not y.requires_grad
    assert x.detach().data is x.data


# -- backward ---------------------------------------------------------------------------------------------------------


def test_polynomial():
    x = tg.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    ((x ** 3 + 2 * x) / 4).sum().backward()
    np.testing.assert_allclose(x.grad, (3 * x.data ** 2 + 2) / 4)
    assert x.grad.dtype == np.float64 and type(x.grad) is np.ndarray


def test_every_path_counts():
    """b = a + a; c = b + b: visited in the wrong order, a would get 2."""
    a = tg.Tensor(1.0, requires_grad=True)
    b = a + a
    c = b + b
    (c + b).backward()
    assert a.grad == 6.0


def test_a_node_waits_for_all_its_uses():
    """The long way round arrives after the short one."""
    x = tg.Tensor(2.0, requires_grad=True)
    y = x * x
    long = y
    for _ in range(50):
        long = long * 1.0
    (y + long).backward()
    assert x.grad == 8.0


def test_backward_of_a_leaf():
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    x.backward([3.0, 4.0])
    x.backward(np.array([1.0, 1.0]))
    np.testing.assert_array_equal(x.grad, [4.0, 5.0])


def test_gradient_argument_kinds():
    for gradient in ([1.0, 2.0], (1, 2), np.array([1, 2]), np.array([1, 2], np.float32), tg.Tensor([1.0, 2.0])):
        x = tg.Tensor(np.ones(2, np.float32), requires_grad=True)
        (x * 3).backward(gradient)
        np.testing.assert_array_equal(x.grad, [3.0, 6.0])
        assert x.grad.dtype == np.float32


def test_one_element_needs_no_gradient_argument():
    x = tg.Tensor([[2.0]], requires_grad=True)
    (x * x).backward()
    np.testing.assert_array_equal(x.grad, [[4.0]])


def test_two_backwards_add_up():
    x, w = leaf(4, 3), leaf(3, 2, seed=1)
    (x @ w).tanh().sum().backward()
    once = x.grad.copy(), w.grad.copy()
    (x @ w).tanh().sum().backward()
    np.testing.assert_array_equal(x.grad, 2 * once[0])
    np.testing.assert_array_equal(w.grad, 2 * once[1])


def test_only_what_requires_a_gradient_gets_one():
    x, y = leaf(3), tg.Tensor(np.ones(3))
    (x * y).sum().backward()
    assert y.grad is None and x.grad is not None
    assert not (y * 2).requires_grad and (x * 2).requires_grad


def test_wrong_calls_of_backward():
    x = leaf(2, 3)
    with pytest.raises(ValueError, match="does not depend on any Tensor with requires_grad=True"):
        tg.Tensor(1.0).backward()
    with pytest.raises(ValueError, match=r"a Tensor of shape \(2, 3\) needs a gradient of that shape"):
        (x * 2).backward()
    with pytest.raises(ValueError, match=r"expected a gradient of shape \(2, 3\), got \(3,\)"):
        (x * 2).backward(np.ones(3))
    assert x.grad is None


def test_a_graph_is_walked_once():
    x = leaf(3)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(ValueError, match="the graph was freed by an earlier backward .*call backward once"):
        y.backward()
    z = leaf(3)
    shared = z * z
    shared.sum().backward()
    with pytest.raises(ValueError, match="freed by an earlier backward \\(at 'multiply'\\)"):
        (shared + 1).sum().backward()


def test_zero_dimensions_and_zero_sizes():
    x = tg.Tensor(3.0, requires_grad=True)
    (x * x + x).backward()
    assert type(x.grad) is np.ndarray and x.grad.shape == () and x.grad == 7.0
    e = tg.Tensor(np.ones((0, 3)), requires_grad=True)
    (e * 2).sum().backward()
    assert e.grad.shape == (0, 3)


def test_float32_stays_float32():
    x = leaf(5, dtype=np.float32)
    y = ((x * 2.0 + 1) / 3).softmax(-1).tanh().gelu().mean()
    assert y.dtype == np.float32
    y.backward()
    assert x.grad.dtype == np.float32


# -- accumulation never writes into arrays that others hold -----------------------------------------------------------


def test_gradients_of_a_sum_are_not_one_array():
    x, y = leaf(4), leaf(4, seed=1)
    (x + y).backward(np.ones(4))
    assert not np.shares_memory(x.grad, y.grad)
    x.grad[...] = 7
    np.testing.assert_array_equal(y.grad, np.ones(4))


def test_the_callers_gradient_is_neither_kept_nor_written():
    g = np.ones(4)
    g.flags.writeable = False
    x = leaf(4)
    (x + 0.0).backward(g)
    x.backward(g)
    y = x + x
    (y + y.reshape(2, 2).reshape(4)).backward(g)
    assert not np.shares_memory(x.grad, g)
    np.testing.assert_array_equal(g, np.ones(4))
    np.testing.assert_array_equal(x.grad, np.full(4, 6.0))


def test_a_held_gradient_does_not_change():
    x = leaf(3)
    x.sum().backward()
    held = x.grad
    x.sum().backward()
    np.testing.assert_array_equal(held, np.ones(3))
    np.testing.assert_array_equal(x.grad, 2 * np.ones(3))


@pytest.mark.parametrize("uses", [2, 3, 5])
def test_fan_out(uses):
    """Views of one gradient reach one node several times; a leaf that shared them is left alone."""
    x, other = leaf(2, 3), leaf(2, 3, seed=1)
    y = x * 1.0
    total = other + y
    for i in range(uses - 1):
        total = total + (y if i % 2 else y.reshape(3, 2).reshape(2, 3))
    g = np.random.default_rng(2).standard_normal((2, 3))
    before = g.copy()
    total.backward(g)
    np.testing.assert_array_equal(g, before)
    np.testing.assert_allclose(x.grad, uses * g)
    np.testing.assert_array_equal(other.grad, g)


def test_one_tensor_as_both_inputs():
    x = leaf(3, 3)
    (x * x).sum().backward()
    np.testing.assert_allclose(x.grad, 2 * x.data)
    x.grad = None
    (x @ x).sum().backward()
    np.testing.assert_allclose(x.grad, np.ones((3, 3)) @ x.data.T + x.data.T @ np.ones((3, 3)))


def test_a_tied_weight_gets_the_sum_of_its_uses():
    w, x = leaf(5, 4), leaf(2, 4, seed=1)
    ids = np.array([1, 1])
    ops.linear(x + ops.embedding(ids, w), w).sum().backward()
    hidden = x.data + w.data[ids]
    expected = np.tile(hidden.sum(axis=0), (5, 1))
    expected[1] += 2 * w.data.sum(axis=0)
    np.testing.assert_allclose(w.grad, expected)


# -- several outputs --------------------------------------------------------------------------------------------------


def test_several_outputs():
    x = leaf(2, 6)
    a, b, c = ops.split(x, lengths=(1, 2, 3), axis=1)
    assert (a.shape, b.shape, c.shape) == ((2, 1), (2, 2), (2, 3)) and c.requires_grad
    (2 * a.sum() + 3 * c.sum() + c.sum()).backward()  # nothing came from b
    np.testing.assert_array_equal(x.grad, [[2, 0, 0, 4, 4, 4]] * 2)
    with pytest.raises(ValueError, match="freed by an earlier backward"):
        b.sum().backward()


def test_one_of_several_outputs_alone():
    x = leaf(5)
    ops.split(x, lengths=(2, 3))[1].backward(np.arange(3.0))
    np.testing.assert_array_equal(x.grad, [0, 0, 0, 1, 2])


# -- depth and memory -------------------------------------------------------------------------------------------------

DEEP = 100_000


def deep_chain(x):
    y = x
    for _ in range(DEEP):
        y = y + 1.0
    return y


def test_a_chain_of_100_000_operations(no_gc):
    x = tg.Tensor(np.zeros(2, np.float32), requires_grad=True)
    y = deep_chain(x)
    np.testing.assert_array_equal(y.data, [DEEP, DEEP])
    y.backward(np.ones(2, np.float32))
    np.testing.assert_array_equal(x.grad, [1, 1])


def test_a_deep_graph_that_is_never_walked(no_gc):
    """Deleting it must not recurse 100,000 deep, and must free all of it."""
    x = tg.Tensor(np.zeros(2), requires_grad=True)
    middle = x + 1.0
    watch = weakref.ref(middle)
    y = deep_chain(middle)
    del middle
    assert watch() is None  # nodes hold no Tensors in between
    nodes = [node_count(y)]
    del y
    assert nodes[0] == DEEP + 1
    assert sys.getrefcount(x) == 2  # nothing of the graph is left to hold the leaf


def node_count(tensor):
    return len(autograd.graph.newest_first(tensor._node))


def watched_rule(own_rule):
    alive = weakref.WeakSet()

    class Token:
        pass

    @own_rule
    def watched(xp, x):
        token = Token()
        alive.add(token)

        def backward(g):
            return (g * (token is not None),)
        return x * 1.0, backward
    return watched, alive


def test_a_graph_dies_by_reference_count(no_gc, own_rule):
    watched, alive = watched_rule(own_rule)
    x = leaf(3)
    y = watched(watched(x))
    assert len(alive) == 2
    del y
    assert len(alive) == 0
    y = watched(watched(x)).sum()
    y.backward()
    assert len(alive) == 0 and x.grad is not None  # although y is still there
    y = watched(x)
    with pytest.raises(ValueError):
        y.backward()
    with tg.no_grad():
        y = watched(x)
        assert len(alive) == 0  # no closure is kept
    del y


def test_a_transformer_like_step_leaves_nothing(no_gc):
    w = leaf(8, 8, dtype=np.float32)

    def step():
        x = ops.layer_norm(tg.Tensor(np.ones((4, 8), np.float32)) @ w)
        a, b = ops.split(x, lengths=(4, 4), axis=1)
        loss = ops.cross_entropy(ops.concatenate([a.gelu(), b], axis=1) @ w, np.zeros(4, int))
        loss.backward()

    step()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(20):
        step()
    assert len(gc.get_objects()) - before < 20


def test_memory_falls_during_backward(own_rule):
    """Each closure goes as soon as it has done its part: backward never holds all activations and all gradients."""
    levels = []

    @own_rule
    def measured(xp, x):
        def backward(g):
            levels.append(tracemalloc.get_traced_memory()[0])
            return (g,)
        return x.copy(), backward

    size = 100_000
    x = tg.Tensor(np.ones(size), requires_grad=True)
    tracemalloc.start()
    try:
        y = x
        for _ in range(10):
            y = measured(y.exp() * 1e-3)
        y = y.sum()
        y.backward()
    finally:
        tracemalloc.stop()
    steps = np.diff(levels[1:])
    assert (steps < -0.9 * 8 * size).all()


# -- no_grad ----------------------------------------------------------------------------------------------------------


def recording():
    """Whether an operation is recorded here."""
    recorded = (tg.Tensor(1.0, requires_grad=True) * 2).requires_grad
    assert recorded == autograd.is_grad_enabled()
    return recorded


def test_no_grad_block():
    with tg.no_grad():
        assert not recording()
        with tg.no_grad():
            assert not recording()
        assert not recording()
    assert recording()


def test_no_grad_ends_with_an_exception():
    with pytest.raises(KeyError), tg.no_grad():
        raise KeyError
    assert recording()


def test_no_grad_is_the_threads_own():
    seen, entered, done = [], threading.Event(), threading.Event()

    def other():
        with tg.no_grad():
            seen.append(recording())
            entered.set()
            done.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait(10)
    seen.append(recording())
    with tg.no_grad():
        inner = []
        third = threading.Thread(target=lambda: inner.append(recording()))
        third.start()
        third.join()
    done.set()
    thread.join()
    assert seen == [False, True] and inner == [True]


def test_no_grad_as_decorator():
    @tg.no_grad()
    def function(a, b=2):
        """Its docstring."""
        return recording(), a, b

    assert function(1, b=3) == (False, 1, 3) and function.__doc__ == "Its docstring."
    assert recording()

    @tg.no_grad()
    def recursive(n):
        return recording() or (n > 0 and recursive(n - 1))

    assert not recursive(3) and recording()


def interleaved(generator):
    """What the generator sees inside, and what its caller sees between two steps."""
    inside, outside = [], []
    for value in generator:
        inside.append(value)
        outside.append(recording())
    return set(inside), set(outside) | {recording()}


def test_no_grad_does_not_leak_out_of_a_generator():
    def block():
        with tg.no_grad():
            for _ in range(3):
                yield recording()

    @tg.no_grad()
    def decorated():
        for _ in range(3):
            yield recording()

    def delegating():
        with tg.no_grad():
            yield from (recording() for _ in range(3))

    def by_exit_stack():
        with contextlib.ExitStack() as stack:
            stack.enter_context(tg.no_grad())
            for _ in range(3):
                yield recording()

    @contextlib.contextmanager
    def inference():
        with tg.no_grad():
            yield

    @contextlib.contextmanager
    def nested():
        with inference():
            yield

    def by_context_manager():
        with nested():
            for _ in range(3):
                yield recording()

    for function in (block, decorated, delegating, by_exit_stack, by_context_manager):
        assert interleaved(function()) == ({False}, {True}), function.__name__


def test_interleaved_generators():
    def block():
        with tg.no_grad():
            for _ in range(3):
                yield recording()

    one, two = block(), block()
    assert not next(one) and not next(two) and recording()
    del one  # closed in the middle
    assert recording() and not next(two) and recording()
    with tg.no_grad():
        two.close()
        assert not recording()
    assert recording()


def test_a_generator_inside_no_grad_is_inside():
    def plain():
        for _ in range(2):
            yield recording()

    with tg.no_grad():
        generator = plain()
        assert not next(generator)
    assert next(generator)  # resumed outside


def test_no_grad_in_a_context_manager_holds_in_its_block():
    @contextlib.contextmanager
    def inference():
        with tg.no_grad():
            yield

    with inference():
        assert not recording()
    assert recording()
    with contextlib.ExitStack() as stack:
        stack.enter_context(inference())
        stack.enter_context(tg.no_grad())
        assert not recording()
    assert recording()
    stack = contextlib.ExitStack()
    stack.enter_context(tg.no_grad())
    assert not recording()
    list(stack.close() for _ in range(1))  # closed in another frame, a generator's
    assert recording()

    @inference()
    def function():
        return recording()

    assert not function() and recording()


def test_one_no_grad_object_used_again():
    switch = tg.no_grad()
    with switch:
        with switch:
            assert not recording()
        assert not recording()
    assert recording()

    seen, entered, left = [], threading.Event(), threading.Event()

    def work():
        with switch:
            seen.append(recording())
            entered.set()
            left.wait(10)
            seen.append(recording())
        seen.append(recording())

    thread = threading.Thread(target=work)
    with switch:
        thread.start()
        entered.wait(10)
        assert not recording()
    assert recording()  # although the other thread has entered later, and is still inside
    left.set()
    thread.join()
    assert recording() and seen == [False, False, True]


def test_one_no_grad_object_in_two_generators():
    switch = tg.no_grad()

    def block(n):
        with switch:
            for _ in range(n):
                yield recording()
        yield recording()

    one, two = block(1), block(3)
    assert not next(one) and not next(two)
    assert next(one)
    assert [*two] == [False, False, True]
    assert recording()


def test_an_abandoned_generator_is_freed(no_gc):
    class Big:
        pass

    def stream(big):
        with tg.no_grad():
            yield 1
            yield big

    big = Big()
    watch = weakref.ref(big)
    generator = stream(big)
    next(generator)
    del generator, big
    assert watch() is None and recording()


# -- rules ------------------------------------------------------------------------------------------------------------


def rule_returning(own_rule, make):
    @own_rule
    def doubtful(xp, x, y):
        return x * y, lambda g: make(g, x, y)
    return doubtful


@pytest.mark.parametrize("make, message", [
    (lambda g, x, y: (g * y,), "doubtful: backward returned 1 gradients for 2 inputs"),
    (lambda g, x, y: (g * y, g * x, g), "doubtful: backward returned 3 gradients for 2 inputs"),
    (lambda g, x, y: (g * y, g * x), r"doubtful: backward returned a gradient of shape \(2, 3\) and dtype float64 "
                                     r"for input 1 of shape \(3,\) and dtype float64"),
    (lambda g, x, y: (g * y, lambda: g * x), r"shape \(2, 3\).*for input 1 of shape \(3,\)"),
    (lambda g, x, y: ((g * y).astype(np.float32), (g * x).sum(axis=0)), "dtype float32 for input 0.*dtype float64"),
])
def test_a_wrong_rule_is_named(own_rule, make, message):
    x, y = leaf(2, 3), leaf(3, seed=1)
    with pytest.raises(ValueError, match=message):
        rule_returning(own_rule, make)(x, y).sum().backward()


def test_a_gradient_on_the_wrong_device_is_named(own_rule):
    rule = rule_returning(own_rule, lambda g, x, y: (np.ones(2), np.ones(2)))
    x, y = (tg.Tensor(np.ones(2), requires_grad=True, device="fake") for _ in range(2))
    with pytest.raises(ValueError, match="doubtful: backward returned a gradient on cpu for input 0 on fake:0"):
        rule(x, y).sum().backward()


def test_a_gradient_that_nobody_wants_is_not_computed(own_rule):
    def never():
        raise AssertionError

    x = leaf(2)
    rule_returning(own_rule, lambda g, x, y: (g * y, never))(x, np.ones(2)).sum().backward()
    np.testing.assert_array_equal(x.grad, np.ones(2))


def test_own_rules_do_not_replace_ours(own_rule):
    ours = OPS["softmax"]

    @own_rule
    def softmax(xp, x):
        return x * 0, lambda g: (g * 0,)

    assert OPS["softmax"] is ours
    (name,) = [name for name in OPS if name.endswith(".softmax")]
    assert name.startswith(__name__) and OPS[name].rule is softmax.__wrapped__
    assert softmax(leaf(2)).data.tolist() == [0, 0]
    np.testing.assert_allclose(ops.softmax(leaf(2)).data.sum(), 1)


def test_the_registry_has_every_operation():
    rules = {name for name in ops.__all__ if callable(getattr(ops, name))}
    assert rules <= set(OPS)
    for name in rules:
        operation = OPS[name]
        assert operation.name == name and twins_of(operation) is not None
        assert getattr(ops, name).operation is operation and getattr(ops, name).__doc__


def test_inputs_and_settings_by_position_and_by_name():
    x, w, b = leaf(2, 3), leaf(4, 3, seed=1), leaf(4, seed=2)
    np.testing.assert_array_equal(ops.softmax(x, 0).data, ops.softmax(x, axis=0).data)
    y = ops.linear(x, weight=w, bias=b)
    y.sum().backward()
    np.testing.assert_array_equal(y.data, ops.linear(x, w, b).data)
    np.testing.assert_array_equal(b.grad, [2, 2, 2, 2])
    assert w.grad is not None
    z = ops.linear(bias=b, weight=w, x=x)
    np.testing.assert_array_equal(z.data, y.data)


@pytest.mark.parametrize("call, message", [
    (lambda x: ops.add(x), "add.* missing .*'y'"),
    (lambda x: ops.softmax(x, dim=0), "unexpected keyword argument 'dim'"),
    (lambda x: ops.softmax(x, 0, axis=0), r"softmax takes 1 inputs, then the settings \(axis\)"),
    (lambda x: ops.softmax(x, 0, 1), "softmax takes 1 inputs.*got 3 arguments by position"),
    (lambda x: ops.linear(x, bias=x), "linear: missing .*'weight'"),
    (lambda x: ops.linear(x, x, weight=x), "linear: multiple values for argument 'weight'"),
    (lambda x: ops.exp("text"), "expected a NumPy or CuPy array, got str"),
])
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(TypeError, match=message):
        call(leaf(2))


def test_optional_inputs_may_be_left_out():
    x, w = leaf(2, 3), leaf(3, 3, seed=1)
    ops.linear(ops.layer_norm(x), w).sum().backward()
    ops.linear_cross_entropy(x, w, None, np.array([0, 1])).backward()
    assert x.grad is not None and w.grad is not None


def test_mixed_precision_inputs_get_gradients_of_their_own_dtype():
    rng = np.random.default_rng(0)
    cos_sin = [rng.random((4, 3)) for _ in range(2)]
    cases = [
        (op, [(3, 4), (4,)]) for op in (ops.add, ops.subtract, ops.multiply, ops.divide, ops.power, ops.maximum,
                                        ops.minimum, ops.rms_norm)
    ] + [(ops.layer_norm, [(3, 4), (4,), (4,)]), (ops.matmul, [(3, 4), (4, 2)]), (ops.linear, [(3, 4), (2, 4), (2,)]),
         (ops.scaled_dot_product_attention, [(2, 4, 3), (1, 5, 3), (1, 5, 3), (4, 5)]),
         (lambda x: ops.rotary_embedding(x, *cos_sin), [(2, 4, 6)]),
         (lambda x, w: ops.linear_cross_entropy(x, w, None, np.array([0, 1, 2])), [(3, 4), (5, 4)]),
         (lambda x, y: ops.concatenate([x, y]), [(3,), (2,)]), (lambda x, y: ops.stack([x, y]), [(3,), (3,)])]
    for op, shapes in cases:
        for odd in range(len(shapes)):
            for dtypes in ([np.float32, np.float64], [np.float64, np.float32]):
                xs = [tg.Tensor((rng.random(shape) + 0.1).astype(dtypes[i == odd]), requires_grad=True)
                      for i, shape in enumerate(shapes)]
                op(*xs).sum().backward()
                assert [x.grad.dtype for x in xs] == [x.dtype for x in xs]


def test_two_devices_are_both_named():
    here, there = tg.Tensor([1.0], requires_grad=True), tg.Tensor([1.0], device="fake:1")
    for call in (lambda: here + there, lambda: there * np.ones(1), lambda: ops.concatenate([here, there]),
                 lambda: here == there, lambda: there[tg.Tensor([0])], lambda: ops.where(there > 0, here, 0.0)):
        with pytest.raises(ValueError, match="two devices, (cpu and fake:1|fake:1 and cpu): .*\\.to\\(device\\)"):
            call()
    with pytest.raises(ValueError, match="two devices, cpu and fake:1"):
        (here * 2).backward(there)


# -- twins ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def doubled(own_rule):
    """An operation x → 2x, with a list of which function ran."""
    ran = []

    @own_rule
    def doubled(xp, x, *, times=2.0):
        ran.append("rule")
        return x * times, lambda g: (g * times,)

    doubled.ran = ran
    return doubled


def test_a_twin_stands_in_for_its_rule(doubled):
    @kernels.accelerates(doubled)
    def twin(x, *, times=2.0):
        doubled.ran.append("twin")
        if x.dtype != np.float32:
            return NotImplemented
        return x * times, lambda g: (g * times,)

    x = leaf(2, dtype=np.float32)
    doubled(x, times=3.0).sum().backward()
    assert doubled.ran == ["twin"] and x.grad.tolist() == [3, 3]
    doubled.ran.clear()
    doubled(leaf(2))  # float64, which the twin leaves to the rule
    assert doubled.ran == ["twin", "rule"]
    doubled.ran.clear()
    with kernels.disabled():
        doubled(x)
        with kernels.disabled():
            pass
        doubled(x)
    assert doubled.ran == ["rule", "rule"]
    doubled(x)
    assert doubled.ran[-1] == "twin"


def test_the_last_twin_is_asked_first_and_only_on_its_device(doubled):
    for name, device, answers in (("first", "cpu", True), ("second", "cpu", False), ("other", "fake", True)):
        def twin(x, *, name=name, answers=answers, times=2.0):
            doubled.ran.append(name)
            return (x * times, lambda g: (g * times,)) if answers else NotImplemented
        kernels.accelerates(doubled, device=device)(twin)
    doubled(leaf(2))
    assert doubled.ran == ["second", "first"]
    doubled.ran.clear()
    doubled(tg.Tensor([1.0], device="fake"))
    assert doubled.ran == ["other"]


def test_disabled_ends_with_an_exception():
    with pytest.raises(KeyError), kernels.disabled():
        raise KeyError
    assert Dispatch.twins_enabled


@pytest.mark.parametrize("setting, expected", [("off", "False"), ("", "True")])
def test_twins_switched_off_for_a_process(setting, expected):
    code = "import tinygpt.kernels, tinygpt.engine.dispatch as d; print(d.Dispatch.twins_enabled)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env={**os.environ, "TINYGPT_KERNELS": setting})
    assert done.stdout.strip() == expected
