"""Devices by name, the default one, what is missing, and moving data; with a pretend GPU where one is needed."""

from __future__ import annotations

import subprocess
import sys
import types

import fake_device
import numpy as np
import pytest

import tinygpt as tg
from tinygpt import backend


@pytest.fixture(autouse=True)
def _default_device_afterwards():
    yield
    tg.set_default_device(None)


@pytest.fixture
def without_cuda(monkeypatch):
    """No CUDA backend before, and none that the test has made afterwards."""
    kinds = {kind: b for kind, b in backend.host._BY_KIND.items() if kind != "cuda"}
    monkeypatch.setattr(backend.host, "_BY_KIND", kinds)
    monkeypatch.setattr(backend.host, "_BY_TYPE", dict(backend.host._BY_TYPE))


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gpu", "", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "CPU", 3])
def test_unknown_device_is_named(name):
    with pytest.raises(ValueError, match="unknown device .*expected \"cpu\", \"cuda\" or \"cuda:N\""):
        backend.resolve_device(name)


def test_device_names_are_complete():
    assert backend.resolve_device("cpu") == "cpu"
    assert backend.resolve_device("fake") == "fake:0"
    assert backend.resolve_device("fake:1") == "fake:1"


def test_the_default_is_the_cpu():
    assert backend.default_device() == "cpu"
    assert tg.Tensor([1.0]).device == "cpu"


def test_default_device_from_the_environment(monkeypatch):
    monkeypatch.setenv("TINYGPT_DEVICE", "fake:1")
    assert tg.Tensor([1.0]).device == "fake:1"
    assert tg.Tensor([1.0], device="cpu").device == "cpu"
    tg.set_default_device("cpu")  # said in the program, it goes before the environment
    assert tg.Tensor([1.0]).device == "cpu"
    tg.set_default_device(None)
    assert tg.Tensor([1.0]).device == "fake:1"


def test_a_bad_name_in_the_environment_is_an_error(monkeypatch):
    monkeypatch.setenv("TINYGPT_DEVICE", "gpu")
    with pytest.raises(ValueError, match="unknown device 'gpu'"):
        tg.Tensor([1.0])


def test_set_default_device():
    tg.set_default_device("fake")
    assert tg.Tensor([1.0]).device == "fake:0"
    assert tg.Tensor(np.ones(2)).device == "fake:0"
    with pytest.raises(ValueError, match="unknown device 'gpu'"):
        tg.set_default_device("gpu")
    assert backend.default_device() == "fake:0"  # as before the mistake


def test_the_default_does_not_move_what_is_on_a_device():
    x = backend.to_device(np.ones(2), "fake:1")
    assert tg.Tensor(x).device == "fake:1"


# -- CUDA that is not there -------------------------------------------------------------------------------------------


def test_cuda_without_cupy(without_cuda, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # importing it raises ImportError
    assert not tg.cuda_available()
    with pytest.raises(backend.DeviceError, match="CuPy is not installed.*'cupy-cuda13x\\[ctk\\]'.*580.*cupy-cuda12x"):
        tg.Tensor([1.0], device="cuda")
    with pytest.raises(backend.DeviceError, match="CuPy is not installed"):
        tg.set_default_device("cuda:1")
    assert tg.Tensor([1.0]).device == "cpu"


@pytest.mark.parametrize("driver, wheel, message", [
    (13010, 13020, "CuPy is installed but finds no usable NVIDIA GPU.*nvidia-smi.*CUDA_VISIBLE_DEVICES"),
    (13010, 12080, "finds no usable NVIDIA GPU"),
    (0, 13020, "there is no NVIDIA driver; install one"),
    (12080, 13020, "for CUDA 13 and the NVIDIA driver is too old.*supports CUDA 12.8; .*580.*cupy-cuda12x instead"),
    (11040, 12090, "for CUDA 12 and the NVIDIA driver is too old.*supports CUDA 11.4"),
])
def test_cupy_without_a_gpu(without_cuda, monkeypatch, driver, wheel, message):
    cupy = types.ModuleType("cupy")
    cupy.cuda = types.SimpleNamespace(is_available=lambda: False, runtime=types.SimpleNamespace(
        driverGetVersion=lambda: driver, runtimeGetVersion=lambda: wheel))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    assert not tg.cuda_available()
    with pytest.raises(backend.DeviceError, match=message):
        tg.Tensor([1.0], device="cuda")


def test_a_gpu_without_the_cuda_libraries(without_cuda, monkeypatch):
    pretend_cupy(monkeypatch, 1)
    monkeypatch.setitem(sys.modules, "cupy_backends.cuda.libs", None)
    assert not tg.cuda_available()
    with pytest.raises(backend.DeviceError, match="without the CUDA libraries.*'cupy-cuda13x\\[ctk\\]'"):
        tg.Tensor([1.0], device="cuda")


def test_no_silent_fall_back_from_the_environment(without_cuda, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setenv("TINYGPT_DEVICE", "cuda")
    with pytest.raises(backend.DeviceError, match="CuPy is not installed"):
        tg.Tensor([1.0])


def pretend_cupy(monkeypatch, n_devices):
    """A `cupy` that finds GPUs, made of the pretend device."""
    cupy, cupyx, scipy, special, *backends, libraries = (types.ModuleType(name) for name in (
        "cupy", "cupyx", "cupyx.scipy", "cupyx.scipy.special", "cupy_backends", "cupy_backends.cuda",
        "cupy_backends.cuda.libs"))
    libraries.cublas = libraries.nvrtc = None
    cupy.cuda = types.SimpleNamespace(
        is_available=lambda: True, Device=fake_device._device,
        runtime=types.SimpleNamespace(getDeviceCount=lambda: n_devices))

    class ndarray(fake_device.FakeArray):
        __slots__ = ()

    cupy.ndarray = ndarray
    cupy.asarray = lambda x: ndarray(np.array(x), fake_device._current_index())
    cupy.asnumpy = fake_device.FakeArray.get
    special.erf = fake_device._erf
    for module in (cupy, cupyx, scipy, special, *backends, libraries):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(ndarray, "device", property(lambda self: types.SimpleNamespace(id=self.index)), raising=False)


def test_cuda_where_it_is_there(without_cuda, monkeypatch):
    pretend_cupy(monkeypatch, 2)
    assert tg.cuda_available()
    assert tg.Tensor([1.0], device="cuda").device == "cuda:0"
    assert tg.Tensor([1.0], device="cuda:1").device == "cuda:1"
    np.testing.assert_array_equal(tg.Tensor([1.0], device="cuda:1").numpy(), [1.0])
    with pytest.raises(backend.DeviceError, match='"cuda:2" was asked for, but this machine has 2 GPU'):
        tg.Tensor([1.0], device="cuda:2")


def test_asking_for_cuda_in_a_process_without_it():
    """The whole way, with whatever this machine has: an error of one line, or a GPU."""
    code = ("import tinygpt as tg\ntry:\n    print(tg.Tensor([1.0], device='cuda').device)\n"
            "except tg.backend.DeviceError as error:\n    print(error)")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.startswith(('device "cuda" was asked for, but CuPy', "cuda:0")) and out.count("\n") == 1


class Device:
    """`cupy.cuda.Device` of a GPU of some compute capability."""

    compute_capability = "80"

    def __init__(self, index=0):
        self.id = index

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass


def with_narrow_types(monkeypatch, capability):
    pretend_cupy(monkeypatch, 2)
    monkeypatch.setattr(Device, "compute_capability", capability)
    sys.modules["cupy"].cuda.Device = Device
    compute_types = {"f": 1}
    core = types.ModuleType("cupy._core")
    core._routines_linalg = types.SimpleNamespace(
        COMPUTE_TYPE_DEFAULT=1, COMPUTE_TYPE_TF32=7, get_compute_type=compute_types.get,
        set_compute_type=compute_types.__setitem__)
    monkeypatch.setitem(sys.modules, "cupy._core", core)
    return compute_types


def test_bfloat16_and_tf32_on_a_gpu(without_cuda, monkeypatch):
    pytest.importorskip("ml_dtypes")
    compute_types = with_narrow_types(monkeypatch, "90")
    assert backend.resolve_dtype("bfloat16", "cuda:1").name == "bfloat16"
    assert backend.allow_tf32("cuda") is False and compute_types["f"] == 7
    assert backend.allow_tf32("cuda:1", False) is True and compute_types["f"] == 1
    assert backend.allow_tf32("cuda", False) is False


def test_a_gpu_that_is_too_old_for_bfloat16_and_tf32(without_cuda, monkeypatch):
    pytest.importorskip("ml_dtypes")
    compute_types = with_narrow_types(monkeypatch, "75")
    with pytest.raises(backend.DeviceError, match=r"bfloat16 was asked for on cuda:1, but this GPU has compute "
                                                  r"capability 7.5, and bfloat16 needs 8.0 .*; use float32"):
        backend.resolve_dtype("bfloat16", "cuda:1")
    with pytest.raises(backend.DeviceError, match="TF32 was asked for, but this GPU has compute capability 7.5"):
        backend.allow_tf32("cuda")
    assert compute_types["f"] == 1 and backend.allow_tf32("cuda", False) is False


def test_bfloat16_without_its_package(without_cuda, monkeypatch):
    with_narrow_types(monkeypatch, "90")
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(backend.DeviceError, match="package ml_dtypes is missing .*pip install ml_dtypes"):
        backend.resolve_dtype("bfloat16", "cuda")
    assert backend.allow_tf32("cuda") is False  # which needs no package


# -- arrays -----------------------------------------------------------------------------------------------------------


def test_array_module():
    there = backend.to_device(np.ones(2), "fake")
    assert backend.array_module(np.ones(2), 1.0, None, np.float32(2)) is np
    assert backend.array_module(1.0) is np
    assert backend.array_module(there, 1.0, None, np.float32(2)) is fake_device.xp
    with pytest.raises(ValueError, match="arrays on two devices, cpu and fake:0"):
        backend.array_module(np.ones(2), there)
    with pytest.raises(TypeError, match="expected a NumPy or CuPy array, got str"):
        backend.array_module("text")


def test_device_of():
    assert backend.device_of(np.ones(1)) == "cpu"
    assert backend.device_of(np.float32(1)) == "cpu"
    assert backend.device_of(backend.to_device(np.ones(2), "fake:1")) == "fake:1"
    with pytest.raises(TypeError, match="expected a NumPy or CuPy array, got list"):
        backend.device_of([1.0])


def test_memory_maps_are_host_arrays(tmp_path):
    ids = np.memmap(tmp_path / "ids.bin", dtype=np.uint16, mode="w+", shape=(4,))
    ids[:] = [1, 2, 3, 4]
    assert backend.array_module(ids) is np and backend.device_of(ids) == "cpu"
    x = tg.Tensor(ids)
    assert type(x.data) is np.ndarray and np.shares_memory(x.data, ids)
    del x, ids


def test_to_device_and_back():
    host = np.arange(6.0).reshape(2, 3)
    assert backend.to_device(host, "cpu") is host and backend.to_numpy(host) is host
    there = backend.to_device(host, "fake")
    assert backend.to_device(there, "fake:0") is there
    other = backend.to_device(there, "fake:1")
    assert backend.device_of(other) == "fake:1"
    np.testing.assert_array_equal(backend.to_numpy(other), host)
    np.testing.assert_array_equal(backend.to_device(other, "cpu"), host)
    assert not np.shares_memory(backend.to_numpy(there), host)


def test_on_device_makes_new_arrays_there():
    with backend.on_device("fake:1"):
        assert backend.device_of(fake_device.xp.zeros(2)) == "fake:1"
    assert backend.device_of(fake_device.xp.zeros(2)) == "fake:0"
    with backend.on_device("cpu"), backend.on_device("cpu"):
        pass


def test_manual_seed():
    tg.manual_seed(3)
    first = backend.generator().standard_normal(5)
    tg.manual_seed(3)
    np.testing.assert_array_equal(backend.generator().standard_normal(5), first)
    np.random.seed(0)  # NumPy's global state has no part in it
    tg.manual_seed(3)
    np.testing.assert_array_equal(backend.generator().standard_normal(5), first)
