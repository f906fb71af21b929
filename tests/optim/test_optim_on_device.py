"""The optimizers on the pretend GPU: no host array slips in, and the host waits for the norm alone."""

from __future__ import annotations

import fake_device
import numpy as np
import pytest

from tinygpt.backend import on_device, to_device, to_numpy
from tinygpt.nn.module import Parameter
from tinygpt.optim import OPTIMIZERS, FlatParameters, clip_grad_norm
from tinygpt.optim.flat_optimizer import FLUSH_EVERY


VALUES = {"w": (4, 3), "blocks.0.qkv.weight": (9, 3), "blocks.0.up.weight": (7, 3), "b": (3,), "s": ()}
every = pytest.mark.parametrize("name", sorted(OPTIMIZERS))


@every
@pytest.mark.parametrize("device", ["fake:0", "fake:1"])
def test_steps_equal_the_hosts(name, device):
    rng = np.random.default_rng(0)
    values = {key: rng.standard_normal(shape) for key, shape in VALUES.items()}
    host = FlatParameters([(key, Parameter(np.array(x))) for key, x in values.items()])
    there = FlatParameters([(key, Parameter(np.array(x), device=device)) for key, x in values.items()])
    a, b = (OPTIMIZERS[name](flat, weight_decay=0.1) for flat in (host, there))
    for _ in range(FLUSH_EVERY + 2):
        g = rng.standard_normal(host.size)
        host.grad[:] = g
        with on_device(device):
            there.grad[:] = to_device(g, device)
        assert clip_grad_norm(host, 1.0) == pytest.approx(clip_grad_norm(there, 1.0))
        a.step(grad_scale=0.7)
        b.step(grad_scale=to_device(np.float64(0.7), device))
    np.testing.assert_allclose(to_numpy(there.data), host.data, rtol=1e-12)
    again = OPTIMIZERS[name]([(key, Parameter(np.array(x), device=device)) for key, x in values.items()])
    again.load_state_dict({key: to_numpy(x) for key, x in b.state_dict().items()})
    for key, x in b.state_dict().items():
        np.testing.assert_array_equal(to_numpy(again.state_dict()[key]), to_numpy(x))
    there.zero_grad()
    assert not to_numpy(there.new_gradient()).any() and not to_numpy(there.grad).any()


@every
def test_the_host_waits_only_for_the_norm(name):
    flat = FlatParameters([(key, Parameter(np.ones(shape), device="fake")) for key, shape in VALUES.items()])
    optimizer = OPTIMIZERS[name](flat)
    with fake_device.count_syncs() as count:
        for _ in range(FLUSH_EVERY):
            optimizer.step()
            optimizer.zero_grad()
    assert count.syncs == 0
    with fake_device.count_syncs() as count:
        clip_grad_norm(flat, 1.0)
    assert count.syncs == 1


def test_two_devices_are_refused():
    with pytest.raises(ValueError, match="'0' is on fake:0, '1' on fake:1"):
        FlatParameters([Parameter(np.ones(2), device="fake:0"), Parameter(np.ones(2), device="fake:1")])
