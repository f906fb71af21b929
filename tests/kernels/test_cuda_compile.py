"""cuda.cu is valid CUDA for the processors it is meant for: sm_80 (A100) and sm_90 (H100, H200). It needs no GPU."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tinygpt.kernels.cuda.launch import ELEMENTS, SOURCE

CASES = [(element, architecture) for element in ELEMENTS.values() for architecture in ("sm_80", "sm_90")]


@pytest.mark.oracle
@pytest.mark.parametrize("element, architecture", CASES)
def test_nvrtc_compiles_it(element, architecture):
    """The compiler, and the options, by which CuPy compiles it on a GPU's machine."""
    pytest.importorskip("cupy")
    try:
        from cupy_backends.cuda.libs import nvrtc
    except ImportError as error:
        pytest.skip(f"could not import NVRTC ({error}); pip install nvidia-cuda-nvrtc")
    program = nvrtc.createProgram(SOURCE.read_text(encoding="utf-8"), "cuda.cu", (), ())
    try:
        nvrtc.compileProgram(program, ("--std=c++17", f"-DELEMENT={element}", f"--gpu-architecture={architecture}"))
    except nvrtc.NVRTCError:
        pytest.fail(nvrtc.getProgramLog(program))
    assert len(nvrtc.getCUBIN(program)) > 10_000
    assert "warning" not in nvrtc.getProgramLog(program)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc on this machine")
@pytest.mark.parametrize("element, architecture", CASES)
def test_nvcc_compiles_it_without_a_warning(element, architecture, tmp_path):
    subprocess.run(["nvcc", f"-arch={architecture}", "-cubin", "-std=c++17", f"-DELEMENT={element}", "-Werror",
                    "all-warnings", "-o", tmp_path / "cuda.cubin", SOURCE], check=True, timeout=120)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc on this machine")
def test_the_check_can_fail(tmp_path):
    broken = tmp_path / "broken.cu"
    broken.write_text(SOURCE.read_text(encoding="utf-8").replace("block_sum(squares)", "block_sun(squares)"))
    done = subprocess.run(["nvcc", "-arch=sm_90", "-cubin", "-DELEMENT=float", "-o", tmp_path / "x", broken],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode and "block_sun" in done.stderr
