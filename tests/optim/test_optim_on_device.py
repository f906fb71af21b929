"""The optimizer on the pretend GPU: no host array slips in, and the host waits for the norm alone."""

from __future__ import annotations

import fake_device
import numpy as np
import pytest

from tinygpt.backend import on_device, to_device, to_numpy
from tinygpt.nn.module import Parameter
from tinygpt.optim import AdamW, FlatParameters, clip_grad_norm
from tinygpt.optim.flat_optimizer import FLUSH_EVERY


@pytest.mark.parametrize("device", ["fake:0", "fake:1"])
def test_steps_equal_the_hosts(device):
    rng = np.random.default_rng(0)
    values = {"w": rng.standard_normal((4, 3)), "b": rng.standard_normal(3), "s": rng.standard_normal(())}
    host = FlatParameters([(name, Parameter(np.array(x))) for name, x in values.items()])
    there = FlatParameters([(name, Parameter(np.array(x), device=device)) for name, x in values.items()])
    a, b = AdamW(host, weight_decay=0.1), AdamW(there, weight_decay=0.1)
    for _ in range(FLUSH_EVERY + 2):
        g = rng.standard_normal(host.size)
        host.grad[:] = g
        with on_device(device):
            there.grad[:] = to_device(g, device)
        assert clip_grad_norm(host, 1.0) == pytest.approx(clip_grad_norm(there, 1.0))
        a.step()
        b.step()
    np.testing.assert_allclose(to_numpy(there.data), host.data, rtol=1e-12)
    again = AdamW(FlatParameters([(name, Parameter(np.array(x), device=device)) for name, x in values.items()]))
    again.load_state_dict({name: to_numpy(x) for name, x in b.state_dict().items()})
    np.testing.assert_array_equal(to_numpy(again.second_moment), to_numpy(b.second_moment))
    there.zero_grad()
    assert not to_numpy(there.new_gradient()).any() and not to_numpy(there.grad).any()


def test_the_host_waits_only_for_the_norm():
    flat = FlatParameters([Parameter(np.ones((4, 3)), device="fake")])
    optimizer = AdamW(flat)
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
