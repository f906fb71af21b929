"""Ranks with a GPU each, between pretend GPUs over a pretend NCCL: the same bits as replicas on one GPU."""

from __future__ import annotations

import fake_device
import fake_nccl
import numpy as np
import pytest
from thread_ranks import in_ranks

from tinygpt.backend import DeviceError, manual_seed, on_device, register_backend, to_device, to_numpy
from tinygpt.data import WindowSampler
from tinygpt.models import GPT, GPTConfig
from tinygpt.optim import OPTIMIZERS
from tinygpt.ranks import Group, with_own_gpus
from tinygpt.training import Criterion, Trainer, TrainingOptions, language_loss

IDS = np.random.default_rng(0).integers(11, size=200).astype(np.uint16)


@pytest.fixture
def gpus():
    """Three pretend GPUs with NCCL."""
    with fake_nccl.installed(3):
        yield


def test_arrays_go_from_gpu_to_gpu_and_others_the_hosts_way(gpus):
    sizes = [[0, 2, 3], [4, 1, 0], [5, 0, 2]]  # from a rank to a rank

    def work(hosts: Group):
        group = with_own_gpus(hosts, "fake")

        def arrays(rank, axis):
            return [np.full(sizes[rank][p] if axis else sizes[p][rank], 10.0 * rank, np.float32) for p in range(3)]
        found = []
        for device in (group.device, "cpu"):
            with on_device(device):
                sends = [to_device(array, device) for array in arrays(group.rank, 1)]
                receives = [to_device(array, device) for array in arrays(group.rank, 0)]
                group.swap(sends, receives)
                found.append([to_numpy(array).tolist() for array in receives])
                whole = to_device(np.arange(6.0) * (group.rank == 1), device)
                group.assemble(whole, [0, 0, 6, 6])
                found.append(to_numpy(whole).tolist())
        with on_device(group.device):
            out = to_device(np.zeros(2, np.float32), group.device)
            group.add([to_device(np.full(2, group.rank + p, np.float32), group.device) for p in range(3)], out)
            found.append(to_numpy(out).tolist())
        return group.device, found
    for rank, (device, found) in enumerate(in_ranks(3, work)):
        received = [[10.0 * p] * sizes[p][rank] for p in range(3)]
        assert device == f"fake:{rank}" and found == [received, list(range(6)), received, list(range(6)),
                                                      [3.0 + 3 * rank] * 2]


def trained(ranks: int, threads: int, **settings):
    """Weights and metrics of each rank after a few steps, and how often a host waited for its device in all."""
    class Metrics(list):
        def write(self, **entry):
            self.append(entry)

    def run(hosts: Group):
        group = with_own_gpus(hosts, "fake")
        device = group.device if ranks > 1 else "fake:0"
        model = GPT(GPTConfig(vocab_size=11, block_size=6, n_layer=1, n_head=2, n_embd=8, dropout=0.1))
        rng = np.random.default_rng(group.rank)
        for parameter in model.parameters():
            parameter.data[...] = rng.normal(size=parameter.shape) * 0.2
        options = TrainingOptions(steps=4, batch_size=6, lr=0.01, threads=threads, clip=0.5, seed=3, **settings)
        trainer = Trainer(model.to(device), Criterion(language_loss), WindowSampler(IDS, 6, 6, 3), options, ranks=group,
                          metrics=Metrics())
        trainer.run()
        state = {name: to_numpy(array).tobytes() for name, array in trainer.optimizer.state_dict().items()}
        return to_numpy(trainer.optimizer.flat.data).tobytes(), list(trainer.metrics), state if not group.rank else None
    manual_seed(0)
    with fake_device.count_syncs() as count:
        answers = in_ranks(ranks, run)
    return answers, count.reasons


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_ranks_with_a_gpu_each_have_the_bits_of_replicas_on_one(gpus, optimizer):
    [(expected, metrics, moments)], _ = trained(1, 2, optimizer=optimizer)
    answers, _ = trained(2, 1, optimizer=optimizer)
    assert [weights == expected for weights, _, _ in answers] == [True, True]
    assert [theirs == metrics for _, theirs, _ in answers] == [True, True]
    assert answers[0][2] == moments


def test_ranks_wait_for_their_devices_no_more_than_one_process_does(gpus):
    _, alone = trained(1, 1)
    _, waits = trained(3, 1)
    assert len(waits) <= 3 * len(alone)


def test_nccls_own_order_is_the_same_to_rounding(gpus):
    [(_, metrics, _)], _ = trained(1, 3)
    answers, _ = trained(3, 1, fast_sum=True)
    assert len({weights for weights, _, _ in answers}) == 1
    for theirs, ours in zip(answers[0][1], metrics, strict=True):
        assert theirs["loss"] == pytest.approx(ours["loss"], abs=2e-5)


@pytest.mark.parametrize("n_gpus, machines, visible, device, message", [
    (2, ["a", "a", "a"], None, "fake", "rank 0 on .*: 3 ranks need a GPU each there, and there are 2"),
    (1, ["a", "b", "b"], None, "fake", "rank 1 on .*: 2 ranks need a GPU each there, and there are 1"),
    (2, ["a", "a"], None, "fake:1", "--device fake:1 is one GPU, and 2 ranks need one each: give --device fake"),
    (2, ["a", "b"], None, "fake", ["fake:0", "fake:0"]),
    (2, ["a", "b", "b", "a"], None, "fake:0", ["fake:0", "fake:0", "fake:1", "fake:1"]),
    (1, ["a", "a"], ["3", "5"], "fake", ["fake:0", "fake:0"]),  # srun: each rank sees its own GPU alone
    (1, ["a", "a"], ["3", "3"], "fake", "2 ranks need a GPU each there, and there are 1"),
    (2, ["a", "a"], None, "cpu", ["cpu", "cpu"]),
])
def test_each_rank_takes_the_gpu_of_its_place_on_its_machine(monkeypatch, n_gpus, machines, visible, device, message):
    monkeypatch.setattr("tinygpt.ranks.nccl.OverNCCL", lambda hosts, device: type("G", (Group,), {"device": device})())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "of all")

    def work(hosts: Group):
        if visible is not None:  # threads share the environment
            collect = hosts.collect
            hosts.collect = lambda value: visible if value == "of all" else collect(value)
        try:
            return with_own_gpus(hosts, device if hosts.rank == 0 else None).device
        except DeviceError as error:
            return error
    with fake_nccl.installed(n_gpus):
        answers = in_ranks(len(machines), work, machines)
    if isinstance(message, list):
        assert answers == message
        return
    assert len({str(error) for error in answers}) == 1, "all ranks end with one line"
    with pytest.raises(DeviceError, match=message):
        raise answers[0]


def test_without_nccl_there_is_one_line(gpus):
    fake_nccl.install_none()
    with pytest.raises(DeviceError, match="rank 0 on .*: CuPy finds no NCCL"):
        in_ranks(2, lambda hosts: with_own_gpus(hosts, "fake"))
    register_backend(fake_device.BACKEND)
    with pytest.raises(DeviceError, match="several ranks cannot train on fake: give --device cpu"):
        in_ranks(2, lambda hosts: with_own_gpus(hosts, "fake"))


def test_one_process_needs_no_nccl():
    assert type(with_own_gpus(Group(), "fake")) is Group
