"""Shards against the undivided sweep: on this machine, on dask with a killed worker, from stored files."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time

import joblib
import numpy as np
import pytest
import torch

from l2lab.engine import MLP, shards, sweep, sweep_shards

NETWORK = MLP((6, 7, 3))
LAMS, SEEDS, LRS = (0.0, 0.02, 0.1, 0.3, 1.0), (0, 5, 7), (0.05, 0.01)
OPTIONS = {"seeds": SEEDS, "lrs": LRS, "steps": 11, "batch_size": 5, "schedule": "cosine"}
OPTIONS |= {"dtype": torch.float64, "device": "cpu", "progress": False}


def make_data(network=NETWORK, n=23, seed=0):
    rng = np.random.default_rng(seed)
    return {
        key: (rng.standard_normal((rows, *network.input_shape)), rng.integers(0, network.n_outputs, rows))
        for key, rows in (("train", n), ("valid", 9))
    }


DATA = make_data()


def assert_same(parts, whole, tol=1e-12):
    for name in ("lams", "seeds", "lrs"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    for name in ("network", "loss", "steps", "interrupted", "device"):
        assert getattr(parts, name) == getattr(whole, name), name
    assert list(parts.params) == list(whole.params)
    for name, value in whole.params.items():
        torch.testing.assert_close(parts.params[name], value, rtol=0, atol=tol)
    assert list(parts.metrics) == list(whole.metrics)
    for key, value in whole.metrics.items():
        np.testing.assert_allclose(parts.metrics[key], value, rtol=0, atol=tol, err_msg=key)


# ---- the numbers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "n_parts"), [(1, 1), (4, 4), (7, 10), (100, 15)])
def test_any_number_of_shards_gives_the_undivided_sweep(n, n_parts, tmp_path):
    """Uneven cuts along λ, cuts along seeds as well, every λ and seed alone."""
    whole = sweep(NETWORK, DATA, LAMS, **OPTIONS)
    assert_same(sweep_shards(NETWORK, DATA, LAMS, shards=n, folder=tmp_path, **OPTIONS), whole)
    assert len(list(tmp_path.iterdir())) == n_parts


# ---- other processes ---------------------------------------------------------------------------------------

LONG = OPTIONS | {"steps": 500}


def test_dask_with_a_killed_worker(tmp_path):
    """One of two workers is killed while it trains: the other does its work, with the same numbers."""
    from distributed import Client, LocalCluster

    quiet = {"dashboard_address": None, "silence_logs": logging.CRITICAL}
    killed = []
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, **quiet) as cluster,
        Client(cluster) as client,
    ):
        pids = client.run(os.getpid)
        for nanny in cluster.workers.values():
            nanny.close_gracefully()  # a lost machine does not come back, a killed process would

        def kill_a_busy_worker():
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and not killed:
                if list(tmp_path.glob("*.npz")):
                    busy = [address for address, tasks in client.processing().items() if tasks]
                    if busy:
                        os.kill(pids[busy[0]], signal.SIGKILL)
                        killed.append(pids[busy[0]])
                time.sleep(0.01)

        killer = threading.Thread(target=kill_a_busy_worker)
        killer.start()
        with joblib.parallel_config(backend="dask"):
            result = sweep_shards(NETWORK, DATA, LAMS, shards=8, folder=tmp_path, **LONG)
        killer.join()
        assert killed
        assert list(client.run(os.getpid).values()) == [pid for pid in pids.values() if pid != killed[0]]
    assert_same(result, sweep(NETWORK, DATA, LAMS, **LONG))
    assert len(list(tmp_path.glob("*.npz"))) == 10  # 5 λ times 2 parts of the seeds


# ---- stored parts ------------------------------------------------------------------------------------------


@pytest.fixture
def count(monkeypatch):
    """Count the parts that are computed."""
    done, original = [], shards._work
    monkeypatch.setattr(shards, "_work", lambda *args: done.append(args[1]) or original(*args))
    return done


def test_only_what_is_missing_is_computed(tmp_path, count):
    folder = tmp_path / "new" / "folder"
    call = lambda **changes: sweep_shards(NETWORK, DATA, LAMS, shards=5, folder=folder, **(OPTIONS | changes))  # noqa: E731
    first = call()
    assert len(count) == len(list(folder.iterdir())) == 5
    assert_same(call(), first, 0)
    assert len(count) == 5
    gone = sorted(folder.iterdir())[:2]
    for path in gone:
        path.unlink()
    assert_same(call(seeds=list(SEEDS), lrs=np.array(LRS), progress=True), first, 0)
    assert sorted(count[5:]) == gone
    assert len(list(folder.iterdir())) == 5


CHANGES = [
    {"network": MLP((6, 8, 3))},
    {"data": DATA | {"valid": (DATA["valid"][0] + np.eye(9, 6) * 1e-9, DATA["valid"][1])}},
    {"lams": np.array(LAMS) * 1.1},
    {"seeds": (1, 5, 7)},
    {"lrs": (0.05, 0.02)},
    {"steps": 12},
    {"optimizer": "adam"},
    {"dtype": torch.float32},
]


def test_a_stored_part_never_serves_another_call(tmp_path, count):
    for changes in ({}, *CHANGES):
        arguments = {"network": NETWORK, "data": DATA, "lams": LAMS} | OPTIONS | changes
        sweep_shards(**arguments, shards=2, folder=tmp_path)
    assert len(count) == len(list(tmp_path.iterdir())) == 2 * (1 + len(CHANGES))


def test_ctrl_c_keeps_the_finished_parts(tmp_path, monkeypatch):
    calls = []

    def pressed(**arguments):
        calls.append(arguments)
        result = sweep(**arguments)
        if len(calls) == 3:
            object.__setattr__(result, "interrupted", True)
        return result

    monkeypatch.setattr(shards, "sweep", pressed)
    with pytest.raises(KeyboardInterrupt):
        sweep_shards(NETWORK, DATA, LAMS, shards=5, folder=tmp_path, **OPTIONS)
    assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.undo()
    result = sweep_shards(NETWORK, DATA, LAMS, shards=5, folder=tmp_path, **OPTIONS)
    assert_same(result, sweep(NETWORK, DATA, LAMS, **OPTIONS))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"shards": 2.5}, ValueError, "shards must be an integer of at least 1"),
        ({"lams": [-1]}, ValueError, "lams must not be negative"),
        ({"network": MLP((5, 3))}, ValueError, "needs"),
        ({"stepz": 3}, TypeError, "stepz"),
    ],
)
def test_bad_input_gets_a_clear_error(changes, error, message):
    arguments = {"network": NETWORK, "data": DATA, "lams": LAMS} | OPTIONS | changes
    with pytest.raises(error, match=message):
        sweep_shards(**arguments)
