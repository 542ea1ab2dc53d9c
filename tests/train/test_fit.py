import json
import os
import signal

import jax
import numpy as np
import pytest

from sslx.train import checkpoint
from sslx.train.fit import Watch, fit
from sslx.train.interrupt import Stopped
from sslx.types import UserError
from tests.train import toy


def rows(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def run_dir(tmp_path, name):
    path = tmp_path / name
    path.mkdir()
    return path


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A run that nothing disturbs, and its directory."""
    path = tmp_path_factory.mktemp("straight")
    return fit(toy.training(), path, toy.LOOP), path


def interrupt_at(step):
    """An objective that raises SIGTERM in the process when the step is traced late."""
    base = toy.training()
    calls = []

    class Images(np.ndarray):
        def __getitem__(self, key):
            calls.append(1)
            if len(calls) == step:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().__getitem__(key)

    return base._replace(data={"images": toy.images().view(Images)})


@pytest.mark.parametrize("at", [2, 5, 10])
def test_sigterm_saves_and_resume_is_bit_equal(tmp_path, straight, at):
    # Catches state that is not saved, data order that restarts, keys of the process.
    state, path = straight
    with pytest.raises(Stopped, match="saved") as stop:
        fit(interrupt_at(at), tmp_path, toy.LOOP)
    assert stop.value.signal == signal.SIGTERM
    stopped_at = checkpoint.steps(tmp_path)[-1]
    assert at - 1 <= stopped_at <= at
    toy.assert_equal(fit(toy.training(), tmp_path, toy.LOOP), state)
    assert rows(tmp_path) == rows(path)


def test_rows_past_the_checkpoint_are_dropped(tmp_path, straight):
    # Catches rows logged twice after a kill between two checkpoints.
    state, path = straight

    class Killed(BaseException):
        pass

    t = toy.training()
    data = t.data["images"]

    class Images(np.ndarray):
        calls = 0

        def __getitem__(self, key):
            Images.calls += 1
            if Images.calls == 8:  # steps 5 and 6 are logged, 4 is saved
                raise Killed
            return super().__getitem__(key)

    with pytest.raises(Killed):
        fit(t._replace(data={"images": data.view(Images)}), tmp_path, toy.LOOP)
    assert rows(tmp_path)[-1]["step"] > checkpoint.steps(tmp_path)[-1] == 4
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 7, "lo')  # what a kill in the middle of a line leaves
    toy.assert_equal(fit(toy.training(), tmp_path, toy.LOOP), state)
    assert rows(tmp_path) == rows(path)
    assert [row["step"] for row in rows(tmp_path)] == list(range(1, 11))


def test_metrics(straight):
    # Catches a learning rate off by one step, metrics without the gradient's norm.
    _, path = straight
    found = rows(path)
    assert set(found[0]) == {"step", "loss", "grad_norm", "learning_rate", "top1"}
    assert found[0]["learning_rate"] == pytest.approx(0.05)
    assert found[5]["learning_rate"] == pytest.approx(0.025)
    assert all(row["grad_norm"] > 0 for row in found)
    assert any((path / "tensorboard").iterdir())


def test_a_finished_run_does_nothing(straight):
    # Catches a loop that trains on after its last step.
    state, path = straight
    before = (path / "metrics.jsonl").read_bytes()
    toy.assert_equal(fit(toy.training(), path, toy.LOOP), state)
    assert (path / "metrics.jsonl").read_bytes() == before


def test_nan_stops_and_keeps_what_was_sound(tmp_path):
    # Catches a checkpoint of weights that are no numbers, and training on in silence.
    t = toy.training(learning_rate=1e30)
    with pytest.raises(UserError, match=r"step 2: the loss is nan.*learning rate"):
        fit(t, tmp_path, toy.LOOP._replace(save_every=1))
    assert checkpoint.steps(tmp_path) == [1]


@pytest.mark.slow
def test_the_accelerators_path(tmp_path, straight, monkeypatch):
    # Catches rows of the wrong steps, a log with holes, a dispatch past a checkpoint.
    monkeypatch.setattr("sslx.train.fit.on_cpu", lambda: False)
    state = fit(toy.training(), tmp_path, toy.LOOP)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(straight[0]), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    assert [row["step"] for row in rows(tmp_path)] == list(range(1, 11))
    assert checkpoint.steps(tmp_path) == [8, 10]
    for ours, theirs in zip(rows(tmp_path), rows(straight[1]), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)


def test_seeds_differ(tmp_path, straight):
    # Catches a seed that reaches nothing.
    other = fit(toy.training(seed=4), tmp_path, toy.LOOP)
    a, b = (jax.tree.leaves(s.params)[0] for s in (straight[0], other))
    assert np.abs(np.asarray(a) - np.asarray(b)).max() > 1e-3


def looks(seen, every=3, dies_after=0):
    """A watch whose rows tell the state; it is killed after so many looks."""

    def look(state):
        if dies_after and len(seen) == dies_after:
            raise Killed
        seen.append(int(state.step))
        kernel = jax.tree.leaves(state.params)[-1]
        return {"kernel": float(np.abs(np.asarray(kernel)).sum())}

    return Watch(every, look)


class Killed(BaseException):
    pass


def watched(folder):
    lines = (folder / "watch.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_watch(tmp_path, straight):
    # Catches a watch that changes the outcome or the checkpoints, a look at another
    # step than the row says, an end without a look, rows of no watch.
    seen = []
    state = fit(toy.training(), tmp_path, toy.LOOP, looks(seen))
    assert seen == [3, 6, 9, 10]
    toy.assert_equal(state, straight[0])
    assert rows(tmp_path) == rows(straight[1])
    assert checkpoint.steps(tmp_path) == checkpoint.steps(straight[1])
    found = watched(tmp_path)
    assert [row["step"] for row in found] == seen
    assert len({row["kernel"] for row in found}) == 4
    assert not (straight[1] / "watch.jsonl").exists()


@pytest.mark.slow
def test_watch_in_dispatches(tmp_path, straight, monkeypatch):
    # Catches a dispatch of several steps that runs past a look.
    monkeypatch.setattr("sslx.train.fit.on_cpu", lambda: False)
    seen = []
    fit(toy.training(), tmp_path, toy.LOOP, looks(seen, every=5))
    assert seen == [5, 10]
    assert [row["step"] for row in rows(tmp_path)] == list(range(1, 11))


@pytest.mark.parametrize("every,dies_after", [(3, 2), (4, 1)])
def test_watch_of_a_killed_run(tmp_path, straight, every, dies_after):
    # Catches rows that are lost or doubled where a run is killed at a look (after the
    # last checkpoint, or about to write one).
    whole, cut = run_dir(tmp_path, "whole"), run_dir(tmp_path, "cut")
    fit(toy.training(), whole, toy.LOOP, looks([], every))
    with pytest.raises(Killed):
        fit(toy.training(), cut, toy.LOOP, looks([], every, dies_after))
    with open(cut / "watch.jsonl", "a") as file:
        file.write('{"step": 8, "ker')
    fit(toy.training(), cut, toy.LOOP, looks([], every))
    assert watched(cut) == watched(whole)
    assert rows(cut) == rows(straight[1])


def test_watch_of_nothing_writes_nothing(tmp_path):
    # Catches empty rows.
    fit(toy.training(steps=2), tmp_path, toy.LOOP, Watch(1, lambda state: {}))
    assert not (tmp_path / "watch.jsonl").exists()
