"""Shows that the PyTorch step is the program's: same views, loss, gradient, update.

Command: python -m benchmarks.against_torch --check
Time: a minute. Asserted by tests/test_benchmarks.py as well.

Weights of the program go to PyTorch by their names; views are compared for the same
drawn numbers; loss and gradient norm over three updates without augmentation.
"""

from typing import Any

import jax
import numpy as np
import torch

from benchmarks.steps import make_config, noise, training_of, victim_recipe
from benchmarks.torch_augment import apply
from benchmarks.torch_simclr import Net, make_loss, make_optimiser, set_rate
from sslx.data import augment
from sslx.data.presets import PRESETS, Recipe
from sslx.models.torch_names import flatten, torch_name
from sslx.train.step import State, make_update

UPDATES = 3
_AXES = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}  # ours to PyTorch's


def carry(params, stats, net: torch.nn.Module) -> None:
    """Loads the program's weights into PyTorch's network, all of them."""
    state = {
        torch_name(place): torch.from_numpy(
            np.array(np.transpose(leaf, _AXES[np.ndim(leaf)]), order="C")
        )
        for place, leaf in flatten(params, stats).items()
    }
    missing, unknown = net.load_state_dict(state, strict=False)
    left = [name for name in missing if not name.endswith("num_batches_tracked")]
    assert not left and not unknown, (left, unknown)


def steps_differ(case: str, *, width: int, batch_size: int) -> float:
    """Greatest relative difference of loss and gradient norm over three updates.

    In float64: in float32, Adam makes steps of rounding errors where the true gradient
    is zero, and two correct programs drift apart by 1e-4.
    """
    config = make_config(case, batch_size=batch_size, width=width)
    recipe = victim_recipe(config, plain=True)
    with jax.enable_x64(True):
        recipe["encoder"]["kw"]["dtype"] = "float64"
        t = training_of(recipe)
        # Black and white: 1 / 255 is rounded in float32, and not alike in both.
        t.data["images"] = np.where(t.data["images"] > 127, 255, 0).astype(np.uint8)
        params, stats, extras = jax.jit(t.objective.init)(jax.random.key(0), t.data)
        wide = jax.tree.map(lambda x: x.astype(np.float64), params)
        zero = jax.numpy.zeros((), np.int32)
        state = State(zero, wide, stats, extras, t.optimiser.init(wide))
        net = Net(recipe).double().train()
        carry(state.params, state.stats, net)
        update = jax.jit(make_update(t.objective, t.optimiser, t.schedule))
        ours = []
        for _ in range(UPDATES):
            state, metrics = update(state, np.uint32(0), t.data)
            ours.append((float(metrics["loss"]), float(metrics["grad_norm"])))
    theirs = _torch_steps(net, recipe, t.data["images"])
    return float(np.abs(np.array(theirs) / np.array(ours) - 1).max())


def _torch_steps(net: Net, recipe: dict[str, Any], images: np.ndarray):
    """Loss and gradient norm of each update."""
    loss = make_loss(net, recipe, "float64")
    optimiser = make_optimiser(net, recipe["optim"])
    batch = torch.from_numpy(images).permute(0, 3, 1, 2)
    found = []
    for step in range(UPDATES):
        set_rate(optimiser, recipe, step)
        optimiser.zero_grad()
        value = loss(batch)
        value.backward()
        norms = [p.grad.norm() for p in net.parameters() if p.grad is not None]
        optimiser.step()
        found.append((value.item(), torch.stack(norms).norm().item()))
    return found


def views_differ(preset: str, *, size: int, channels: int, batch: int = 32) -> float:
    """Greatest difference of a value of a view, for the same images and draws."""
    images = noise(batch, size, size, channels).astype(np.float32) / 255
    worst = 0.0
    for recipe in PRESETS[preset]:
        ours, draws = _views(images, recipe)
        with torch.no_grad():
            x = torch.from_numpy(images).permute(0, 3, 1, 2)
            theirs = apply(x, draws, recipe).permute(0, 2, 3, 1).numpy()
        worst = max(worst, float(np.abs(ours - theirs).max()))
    return worst


def _views(images: np.ndarray, recipe: Recipe) -> tuple[np.ndarray, dict[str, Any]]:
    """The program's views, and the draws behind them as tensors."""

    def one(key, image):
        d = augment.draw(key, image.shape, recipe)
        return augment.apply(image, d, recipe), d

    keys = jax.random.split(jax.random.key(0), len(images))
    ours, draws = jax.jit(jax.vmap(one))(keys, images)
    named = draws._asdict()
    named |= named.pop("box")._asdict()
    tensors = {k: torch.from_numpy(np.array(v)) for k, v in named.items()}
    tensors["order"] = tensors["order"].long()
    return np.asarray(ours), tensors


def report(width: int, batch_size: int) -> None:
    """Prints all differences; raises where one is too large."""
    for preset, size, channels in (("simclr", 32, 3), ("mild", 12, 1), ("rda", 32, 3)):
        found = views_differ(preset, size=size, channels=channels)
        print(f"views of {preset}, {size} pixels: differ by {found:.1e} at most")
        assert found < 1e-5
    for case in ("default", "conv3", "resnet18", "resnet50"):
        found = steps_differ(case, width=width, batch_size=batch_size)
        print(f"{UPDATES} steps of {case}: loss and gradient differ by {found:.1e}")
        assert found < 1e-6
