"""Steps to time: those of the program, from a resolved config, on images of noise."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from configs import default, digits_direct
from sslx.attacks.matching import make_match
from sslx.build import make_objective, make_theft
from sslx.embed.forward import embedder
from sslx.experiment.graph import resolve
from sslx.experiment.recipes import views_of
from sslx.models import make_encoder
from sslx.models.flops import count_flops
from sslx.runs.names import Run
from sslx.stages.training import make_training
from sslx.train.fit import Training
from sslx.train.mesh import data_mesh, on_cpu, place, replicated, split_rows
from sslx.train.step import State, init_state, make_dispatch, make_step, make_update

SIZE = 32  # pixels, RGB, of every case but the embedded default
PER_DISPATCH = 20  # steps, on an accelerator: as configs/default.py has it


class Stepper(NamedTuple):
    """A step to time.

    Attributes:
        call: Takes ``steps`` training steps and waits for their end.
        steps: 1 on a CPU.
        flops: Of one step, over all devices: ``() -> float``.
        moved: Bytes of one compiled step, over all devices: ``() -> float``.
    """

    call: Callable[[], Any]
    steps: int
    flops: Callable[[], float]
    moved: Callable[[], float]


def make_config(
    case: str,
    *,
    batch_size: int,
    precision: str = "float32",
    width: int = 0,
):
    """The config of a case.

    Args:
        case: Of ``benchmarks.record.CASES``. "default" is the victim of
            configs/digits_direct.py (conv3 on 12 grey pixels, AdamW); the others are
            the study's SimCLR victim (32 pixels, RGB, Adam with coupled decay) with
            another encoder.
        batch_size: Images; twice as many views.
        precision: float32 or bfloat16.
        width: Channels of the first layer; 0: as the config has it.
    """
    if case == "default":
        c = digits_direct.get_config()
        c.study.grid = ()
    else:
        c = default.get_config()  # its images are never read, only described
        c.data.size, c.data.channels = SIZE, 3
        c.data.held_out = 0.5
        c.victim.encoder = c.steal.encoder = case
        c.steal.queries = 2000
    c.precision = precision
    c.victim.steps = c.steal.steps = 10_000
    for part in (c.victim, c.steal):
        part.batch_size = batch_size
        if width:
            part.encoder_kw[part.encoder].width = width
    return c


def _member(config):
    return resolve(config, Path(tempfile.gettempdir())).members[0]


def victim_recipe(config, *, plain: bool = False) -> dict[str, Any]:
    """All numbers of the SimCLR step; the PyTorch step is built from the same.

    Args:
        config: Of ``make_config``.
        plain: Whether both views are the image as it is.
    """
    config.stages = ("victim",)
    recipe = _member(config).victim.recipe
    return recipe | {"augment": 2 * views_of("none")} if plain else recipe


def noise(*shape: int) -> np.ndarray:
    """uint8 images."""
    return np.random.RandomState(0).randint(0, 256, shape, np.uint8)


def embedding(case: str, width: int, count: int):
    """``(embed, images)``: a network's features, and so many images of noise."""
    r = victim_recipe(make_config(case, batch_size=2, width=width))
    encoder = make_encoder(r["encoder"]["name"], **r["encoder"]["kw"])
    shape = tuple(r["image_shape"])
    params, stats = encoder.init(jax.random.key(0), jax.numpy.zeros((1, *shape)))
    weights = {"encoder": {"params": params, "stats": stats}}
    how = {key: r[key] for key in ("mean", "std")}
    return embedder(encoder.meta, weights, image_shape=shape, **how), noise(
        count, *shape
    )


def training_of(recipe: dict[str, Any]) -> Training:
    """A victim's training on one batch of noise, from its recipe."""
    run = Run(Path(), "victim", "", recipe, {})
    images = noise(recipe["batch_size"], *recipe["image_shape"])
    return make_training(run, make_objective(recipe), {"images": images})


def theft_training(config, loss: str) -> Training:
    """A stealer's training (attack "direct") on one batch of noise."""
    config.stages = ("victim", "steal")
    config.steal.loss = loss
    theft = _member(config).theft
    assert theft is not None and theft.responses is not None
    recipe, dim = theft.steal.recipe, theft.responses.recipe["dim"]
    size = recipe["batch_size"]
    answers = np.random.RandomState(1).rand(size, 1, dim).astype(np.float32)
    match = make_match(loss, recipe["numbers"], answers)
    objective = make_theft(recipe, dim, 0, match=match)
    asked = noise(size, 1, *recipe["image_shape"])
    return make_training(theft.steal, objective, {"asked": asked, "answers": answers})


def make_stepper(t: Training, per_dispatch: int = PER_DISPATCH) -> Stepper:
    """The step as ``sslx.train.fit`` takes it, its batch being all of the data.

    On a CPU a step at a time, the batch from the host; on an accelerator
    ``per_dispatch`` at a time, the batch from the device.
    """
    mesh = data_mesh(t.batch_size)
    whole = replicated(mesh)

    def init(batch):
        return init_state(t.objective, t.optimiser, t.seed, batch)

    state: State = jax.jit(init, out_shardings=whole)(t.data)
    update = make_update(t.objective, t.optimiser, t.schedule)
    seed = np.uint32(t.seed)
    once = make_step(update, mesh)
    shapes = jax.eval_shape(lambda: state)

    def flops():
        found = count_flops(update, shapes, seed, t.data)
        assert found is not None, "JAX_PLATFORMS leaves the CPU out"
        return found

    def moved():
        used = once.lower(shapes, seed, t.data).compile().cost_analysis()
        return mesh.size * used["bytes accessed"]  # the program is one device's

    if on_cpu():

        def call():
            nonlocal state
            state, metrics = once(state, seed, t.data)
            return jax.block_until_ready((state, metrics))

        return Stepper(call, 1, flops, moved)

    many = make_dispatch(update, mesh)
    data = {k: place(v, whole) for k, v in t.data.items()}
    order = np.tile(np.arange(t.batch_size), (per_dispatch, 1))
    rows = place(order, split_rows(mesh, axis=1))

    def dispatch():
        nonlocal state
        state, metrics = many(state, seed, data, rows)
        return jax.block_until_ready((state, metrics))

    return Stepper(dispatch, per_dispatch, flops, moved)
