import importlib
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from configs import default
from sslx import data
from sslx.attacks import ATTACKS
from sslx.engine.step import init_state, make_update
from sslx.losses import LOSSES
from sslx.models import make_encoder
from sslx.objectives import OBJECTIVES
from sslx.stages import experiment
from sslx.stages.train import make_training, make_view

FILES = sorted(
    p.stem
    for p in Path(default.__file__).parent.glob("*.py")
    if p.stem not in ("default", "__init__")
)


def load(name):
    return importlib.import_module(f"configs.{name}")


@pytest.fixture
def any_set(monkeypatch):
    """Stands in for sets that are not at hand: CIFAR's shapes, no content."""
    known = data.describe

    def describe(name, options=None):
        if name in data.SOURCES:
            return known(name)
        sizes = {"train": 50_000, "test": 10_000}
        return data.Info({"fake": name}, name, (32, 32, 3), 10, sizes)

    def ids(name, split, options=None):
        return np.arange(describe(name).sizes[split])

    monkeypatch.setattr(data, "find", lambda name, options=None: None)
    monkeypatch.setattr(data, "describe", describe)
    monkeypatch.setattr(data, "ids", ids)


def leaves(section, prefix=""):
    for key, value in section.items():
        if hasattr(value, "items"):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


@pytest.mark.parametrize("name", FILES)
def test_config_resolves_and_traces_at_full_size(name, any_set, tmp_path):
    # Catches a dangling name, a block that does not fit its function, a step that
    # cannot be traced at the size the config asks for.
    module = load(name)
    config = module.get_config()
    assert config.is_locked
    assert set(leaves(config)) == set(leaves(default.get_config()))
    text = module.__doc__
    for word in ("Command: python launch.py", "Time:", "Expected:"):
        assert word in text
    assert f"configs/{name}.py" in text
    found = experiment.resolve(config, tmp_path)
    r = found.victim.recipe
    victim = make_encoder(r["encoder"]["name"], **r["encoder"]["kw"])
    objective = OBJECTIVES[r["objective"]](
        victim, make_view(r), dtype=config.precision, **r["numbers"]
    )
    trace(found.victim, objective, {})
    for cell in found.cells:
        r = cell.steal.recipe
        objective = ATTACKS[cell.attack].objective(
            make_encoder(r["encoder"]["name"], **r["encoder"]["kw"]),
            make_view(r),
            partial(LOSSES[r["loss"]], **r["numbers"]),
            answer_dim=victim.dim,
            dtype=config.precision,
        )
        trace(cell.steal, objective, {"answers": ((victim.dim,), np.float32)})


def trace(run, objective, more):
    """Traces the first step of a run; ``more``: further entries of its batch."""
    r = run.recipe
    t = make_training(run, objective, {})
    batch = {
        name: jax.ShapeDtypeStruct((r["batch_size"], *shape), dtype)
        for name, (shape, dtype) in {
            "images": (tuple(r["image_shape"]), np.uint8),
            **more,
        }.items()
    }

    def first_step(batch):
        state = init_state(t.objective, t.optimiser, t.seed, batch)
        update = make_update(t.objective, t.optimiser, t.schedule, t.seed)
        return update(state, batch)

    _, metrics = jax.eval_shape(first_step, batch)
    assert metrics["loss"].shape == ()


def test_the_studys_numbers():
    # Catches a recipe that drifts from the study's sheet.
    c = load("cifar_direct").get_config()
    assert (c.victim.encoder, c.victim.epochs, c.victim.batch_size) == (
        "resnet34",
        200,
        256,
    )
    assert c.victim.objective_kw.simclr.temperature == 0.07
    assert (c.victim.optim.name, c.victim.optim.learning_rate) == ("adam", 3e-4)
    assert (c.steal.queries, c.steal.loss, c.steal.epochs) == (9000, "softnn", 100)
    assert c.steal.loss_kw.softnn.temperature == 100.0
    assert (c.steal.batch_size, c.steal.optim.learning_rate) == (256, 1e-3)
    others = [experiment.changed(c.steal, change) for change in c.steal.also]
    numbers = [(o.loss, o.batch_size, o.optim.learning_rate) for o in others]
    assert numbers == [("mse", 64, 1e-3), ("infonce", 256, 3e-4)]
    assert (c.data.size, c.data.channels) == (32, 3)
    assert set(c.probe.datasets) == {
        "cifar10",
        "cifar100",
        "fashion_mnist",
        "stl10",
        "svhn_cropped",
    }


def test_misspelt_keys_are_refused():
    # Catches a config that takes any key.
    with pytest.raises(AttributeError, match="queriez"):
        load("digits_direct").get_config().steal.queriez = 3
