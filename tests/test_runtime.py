"""Device, seeds and profile: what is chosen, and what a reader is told when that is not possible."""

from __future__ import annotations

import platform
import random

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from l2lab import runtime


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    """No variable from outside; torch's switches as they were."""
    for name in ("L2LAB_DEVICE", "L2LAB_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    threads, benchmark = torch.get_num_threads(), torch.backends.cudnn.benchmark
    mode = torch.get_deterministic_debug_mode()
    yield
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode(mode)
    torch.backends.cudnn.benchmark = benchmark


@pytest.fixture
def hardware(monkeypatch):
    """Pretend that GPUs are there or not."""

    def pretend(cuda=False, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    pretend()
    return pretend


def test_profile_and_choose(monkeypatch):
    assert runtime.choose(quick=3, full=30) == 3
    for given, name in ((" Full ", "full"), ("", "quick")):
        monkeypatch.setenv("L2LAB_PROFILE", given)
        assert runtime.profile() == name
    monkeypatch.setenv("L2LAB_PROFILE", "fast")
    with pytest.raises(ValueError, match=r"'fast'.*'quick', 'full'"):
        runtime.choose(quick=3, full=30)


def test_device_order(hardware, monkeypatch):
    monkeypatch.setattr(runtime, "_why_unusable", lambda device: None)
    assert runtime.pick_device().type == "cpu"
    hardware(mps=True)
    assert runtime.pick_device().type == "mps"
    hardware(cuda=True, mps=True)
    assert runtime.pick_device().type == "cuda"
    monkeypatch.setenv("L2LAB_DEVICE", "cpu")
    assert runtime.pick_device().type == "cpu"
    assert runtime.pick_device("cuda:1") == torch.device("cuda:1")


@pytest.mark.filterwarnings("error")
def test_setup_without_gpu_memory_prints_one_line_and_no_warning(hardware, monkeypatch, capsys):
    """What a reader sees: the reason on the line that is there anyway, nothing on standard error."""

    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate more")

    hardware(cuda=True)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "ones", full)
        assert runtime.setup().device == torch.device("cpu")
        with pytest.warns(RuntimeWarning, match=r"cuda cannot be used, so the CPU is: .*out of memory\.$"):
            assert runtime.pick_device() == torch.device("cpu")
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.count("\n") == 1
    assert said.out.startswith("device cpu")
    assert said.out.endswith("; cuda cannot be used, so the CPU is: CUDA out of memory.\n")


@pytest.mark.filterwarnings("error")
def test_versions_is_one_line_with_versions_and_device(hardware, monkeypatch):
    monkeypatch.setattr(runtime, "NAMED", ("numpy", "no-such-package"))
    python = platform.python_version()
    assert runtime.versions() == f"Python {python}, numpy {np.__version__}, device cpu ({platform.machine()})"


@pytest.mark.parametrize("name", ["gpu", "meta", "cpu:x"])
def test_unknown_device(name, monkeypatch):
    monkeypatch.setenv("L2LAB_DEVICE", name)
    with pytest.raises(ValueError, match=rf"L2LAB_DEVICE='{name}' is not a device; use 'cpu'"):
        runtime.pick_device()
    with pytest.raises(ValueError, match="prefer="):
        runtime.pick_device(name)


def test_seed_everything_repeats_all_generators():
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002

    runtime.seed_everything(4)
    first = draw()
    runtime.seed_everything(np.int64(4))
    assert draw() == first
    runtime.seed_everything(5)
    assert all(a != b for a, b in zip(draw(), first, strict=True))
    for seed in (-1, 2**32, 0.5):
        with pytest.raises(ValueError, match=r"[Ss]eed must be"):
            runtime.seed_everything(seed)


def test_setup_prints_one_line_and_sets_torch(hardware, capsys):
    chosen = runtime.setup(seed=11, threads=2)
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    for part in ("device cpu", torch.__version__, "2 threads", "profile quick", "seed 11"):
        assert part in line
    assert chosen == runtime.Runtime(torch.device("cpu"), "quick", 11, 2)
    assert torch.get_num_threads() == 2
    assert torch.are_deterministic_algorithms_enabled()
    assert (torch.tensor(1e-310, dtype=torch.float64) / 2).item() == 0
    with threadpool_limits(2):  # NumPy's threads, too: two that wait for each other are slower than one
        runtime.setup(threads=1)
        assert {library["num_threads"] for library in threadpool_info()} == {1}


def test_the_processor_is_named_and_not_the_computer():
    name = runtime.processor_name()
    assert name
    assert platform.node() not in name or not platform.node()
    assert runtime.processor_name("cpu") == name
