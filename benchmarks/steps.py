"""A SimCLR step to time: the objective of a resolved recipe, on images of noise."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from configs import digits_direct
from sslx.data.presets import PRESETS
from sslx.engine.mesh import data_mesh, replicated
from sslx.engine.step import init_state, make_step, make_update
from sslx.stages.experiment import resolve
from sslx.stages.train import make_objective, make_training

SIZE = 32  # pixels, RGB
PRESETS["twice"] = PRESETS["none"] * 2  # no augmentation, for methods of two views


def make_stepper(
    encoder: str, *, batch_size: int, augment: str, precision: str, width: int = 0
) -> Callable[[], None]:
    """Returns a function that takes one training step and waits for its end.

    Args:
        encoder: Of ``sslx.models.ENCODERS``.
        batch_size: Images; twice as many views.
        augment: Of ``PRESETS``, with two views.
        precision: float32 or bfloat16.
        width: Channels of the first layer; 0: as the config has it.
    """
    config = digits_direct.get_config()  # its images are never read, only described
    config.data.size, config.data.channels = SIZE, 3
    config.stages = ("victim",)
    config.precision = precision
    config.victim.encoder = encoder
    config.victim.augment = augment
    config.victim.batch_size = batch_size
    if width:
        config.victim.encoder_kw[encoder].width = width
    run = resolve(config, Path(tempfile.gettempdir())).victim
    t = make_training(run, make_objective(run.recipe), {})
    mesh = data_mesh(batch_size)
    shape = (batch_size, SIZE, SIZE, 3)
    batch = {"images": np.random.RandomState(0).randint(0, 256, shape, np.uint8)}

    def init(batch):
        return init_state(t.objective, t.optimiser, t.seed, batch)

    state = jax.jit(init, out_shardings=replicated(mesh))(batch)
    advance = make_step(make_update(t.objective, t.optimiser, t.schedule), mesh)

    def step() -> None:
        nonlocal state
        state, _ = advance(state, np.uint32(t.seed), batch)
        jax.block_until_ready(state)

    return step
