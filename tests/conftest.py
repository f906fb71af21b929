"""What every test shares: the data that may lie beside the checkout, and the rule for oracle packages."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import pytest

# One BLAS thread a process, said before a test imports NumPy: the processes of `-n auto` fill the cores already.
for library in ("OPENBLAS", "OMP", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

# Drawing the picture of a run takes longer than these runs do. So matplotlib is absent here, and in the processes that
# tests start; the fixture `pictures` brings it back.
ABSENT = str(Path(__file__).parent / "absent")
sys.modules["matplotlib.figure"] = None  # type: ignore[assignment]
os.environ["PYTHONPATH"] = os.pathsep.join([ABSENT, *filter(None, [os.environ.get("PYTHONPATH")])])

# "ci", the default: the same examples every time. "nightly" (--hypothesis-profile=nightly): fresh ones, and more.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, database=None, max_examples=40)
hypothesis.settings.register_profile("nightly", derandomize=False, deadline=None, max_examples=1000)
hypothesis.settings.load_profile("ci")

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default=None, metavar="NAME",
                     help="run the tests that need a GPU on this device, cuda say; without it they are skipped")
    parser.addoption("--require-oracles", action="store_true",
                     help="a test that skips because a package is missing fails instead")


def pytest_configure(config: pytest.Config) -> None:
    """One clear line where the device that was asked for is not there, and no test is run."""
    name = config.getoption("--device")
    if name is not None:
        from tinygpt.backend import DeviceError, resolve_device
        try:
            resolve_device(name)
        except (DeviceError, ValueError) as error:
            raise pytest.UsageError(f"--device {name}: {error}") from None


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """How a process of `-n` died, which xdist does not say: the number of a signal, negative, or an exit code."""
    if error:
        print(f"\n{node.gateway.id} ended with code {node.gateway._io.popen.wait(10)}", file=sys.__stderr__, flush=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of thousands of cases are left out, unless `-m` names their mark."""
    if "nightly" not in config.option.markexpr:
        left_out = [item for item in items if item.get_closest_marker("nightly")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("nightly")]


@pytest.fixture
def device(request: pytest.FixtureRequest) -> str:
    """The full name of the device that `--device` asked for; the test is skipped where none was."""
    name = request.config.getoption("--device")
    if name is None:
        pytest.skip("needs a GPU: pytest --device cuda")
    from tinygpt.backend import resolve_device
    return resolve_device(name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    """Under --require-oracles, `importorskip` of an absent package is a failure, not a skip."""
    report = yield
    if report.skipped and item.config.getoption("--require-oracles") and "could not import" in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"--require-oracles: {report.longrepr}"
    return report


def _folder(name: str) -> Path:
    path = SHARED / name
    if not path.is_dir():
        pytest.skip(f"no {name} folder beside the checkout")
    return path


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Matplotlib is there; the test is skipped where it is not installed."""
    monkeypatch.delitem(sys.modules, "matplotlib.figure")
    monkeypatch.setenv("PYTHONPATH", os.environ["PYTHONPATH"].removeprefix(ABSENT).removeprefix(os.pathsep))
    pytest.importorskip("matplotlib.figure")


@pytest.fixture
def shared_data() -> Path:
    """The folder of real data; the test is skipped where it is absent."""
    return _folder("data")


@pytest.fixture
def golden() -> Path:
    """The folder of Hugging Face reference models and outputs; the test is skipped where it is absent."""
    return _folder("golden")


@pytest.fixture(scope="session")
def hf_tokenizers() -> ModuleType:
    """Hugging Face's tokenizers. A submodule is asked for: without the library, the bare name is tests/tokenizers/."""
    pytest.importorskip("tokenizers.models")
    return importlib.import_module("tokenizers")


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test depends on the caller's TINYGPT_* variables, or on what the tests before it drew."""
    import tinygpt
    tinygpt.manual_seed(0)
    for name in [name for name in os.environ if name.startswith("TINYGPT_")]:
        monkeypatch.delenv(name)
