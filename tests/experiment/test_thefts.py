"""Every attack with every loss: it trains, or is refused before the start."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import default, digits_attack
from sslx import build
from sslx.attacks import ATTACKS
from sslx.attacks.matching import make_match
from sslx.build import make_head, make_theft
from sslx.experiment.graph import resolve
from sslx.experiment.overrides import changed
from sslx.losses import LOSSES
from sslx.models import make_encoder
from sslx.registry import traits_of
from sslx.types import Encoder, UserError
from tests import tiny

# Losses that an attack is refused with, and what the line must say.
REFUSED = {
    ("own_head", "wasserstein"): "comes out of a head",
    ("own_head", "energy"): "comes out of a head",
    ("access_head", "wasserstein"): "answers may be negative",
    ("access_head", "energy"): "answers may be negative",
    ("recreate_head", "wasserstein"): "comes out of a head",
    ("recreate_head", "energy"): "comes out of a head",
    ("recreate_head", "bce"): "thresholds from the answers",
}


def config(attack, loss):
    """An attack on the digits as digits_attack.py has it, with another loss."""
    changes = digits_attack.ATTACKS[attack] | {"loss": loss}
    # As many steps as any test.
    changes = {k: v for k, v in changes.items() if not k.endswith("passes")}
    if loss != "own" and traits_of(LOSSES[loss]).paired:
        changes |= {"ask_views": 2, "ask_augment": "mild"}
    c = tiny.config(steal__batch_size=8, steal__loss_kw__supcon__labels=3)
    words = " ".join(f"{key}={value}" for key, value in changes.items())
    return changed(c, *default.thefts(words))[0]


def linear(name, **kw):
    """In place of a network, whose gradient takes seconds to compile."""
    dim = make_encoder(name, **kw).dim

    def init(key, images):
        return {"w": jax.random.normal(key, (images[0].size, dim)) / 10}, {}

    def apply(params, stats, images, train):
        return jax.nn.relu(images.reshape(len(images), -1) @ params["w"]), stats

    return Encoder(init, apply, dim, {"name": name, "kw": kw})


def one_step(theft):
    """Loss and gradient of the first step, on eight images and noise for answers."""
    r, responses = theft.steal.recipe, theft.responses.recipe
    random, b, v = np.random.default_rng(0), 8, responses["views"]
    images = random.integers(0, 256, (b, *r["image_shape"]), np.uint8)
    answers = random.uniform(size=(b, v, responses["dim"])).astype(np.float32)
    if responses["output"] == "label":
        answers = np.round(answers * 9)
    batch = {
        "images": images,
        "asked": np.repeat(images[:, None], v, axis=1),
        "answers": answers,
        "labels": np.arange(b, dtype=np.int32) % 3,
    }
    given = {}
    if r["loss"] != "own":
        given["match"] = make_match(r["loss"], r["numbers"], answers)
    encoder = linear(r["encoder"]["name"], **r["encoder"]["kw"])
    key = jax.random.key(0)
    if "ssl" in theft.steal.parents:
        params, stats = encoder.init(key, jnp.asarray(images, jnp.float32))
        given["trunk"] = {"params": params, "stats": stats}
    if "head" in theft.steal.parents:
        objective = make_head(theft.steal.parents["head"].recipe, responses["dim"])
        params, stats, _ = objective.init(key, {"answers": jnp.asarray(answers)})
        given["head"] = {
            "params": params["projector"],
            "stats": stats.get("projector", {}),
        }
    objective = make_theft(r, responses["dim"], responses["classes"], **given)
    assert ("labels" in objective.uses) == (r["loss"] == "supcon")
    batch = {name: jnp.asarray(batch[name]) for name in objective.uses}
    params, stats, extras = objective.init(key, batch)

    def loss(params):
        return objective.loss(params, stats, extras, batch, key)

    (value, _), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    return value, gradient["encoder"]


def pairs():
    """All of them. Quick: each loss once, each attack once, and what is refused."""
    for attack in sorted(ATTACKS):
        for loss in [*sorted(LOSSES), "own"]:
            quick = attack == "direct" or loss in ("mse", "own")
            quick |= (attack, loss) in REFUSED or not ATTACKS[attack].takes_loss
            yield pytest.param(attack, loss, marks=[] if quick else pytest.mark.slow)


@pytest.mark.parametrize("attack,loss", list(pairs()))
def test_every_attack_with_every_loss(attack, loss, tmp_path, monkeypatch):
    # Catches a pair that fails within training, one that trains nothing, and one that
    # is refused without a reason.
    c = config(attack, loss)
    reason = REFUSED.get((attack, loss))
    if (loss == "own") == ATTACKS[attack].takes_loss:
        reason = "no loss of its own" if loss == "own" else "a loss of its own"
    if reason:
        with pytest.raises(UserError, match=reason) as refused:
            resolve(c, tmp_path)
        assert "\n" not in str(refused.value) and not any(tmp_path.iterdir())
        return
    (theft,) = resolve(c, tmp_path).thefts
    if theft.responses is None:  # trains as the victim does, which has tests
        assert attack == "ssl_only" and theft.steal.recipe["objective"] == "simclr"
        return
    monkeypatch.setattr(build, "make_encoder", linear)
    value, gradient = one_step(theft)
    assert np.isfinite(value)
    moved = [bool(np.any(np.asarray(leaf) != 0)) for leaf in jax.tree.leaves(gradient)]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert any(moved)


def test_every_attack_is_in_the_digits_config():
    # Catches an attack that no command line reaches.
    setups = digits_attack.ATTACKS.values()
    assert {setup["attack"] for setup in setups} == set(ATTACKS)
    assert set(default.get_config().steal.attack_kw) == set(ATTACKS)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"steal__attack": "rda", "steal__loss": "own"},
            "compares 2 views.*is 1",
        ),
        ({"steal__ask_views": 7, "steal__ask_augment": "mild"}, "write 294 or 301"),
        ({"steal__attack": "access_head"}, "works on service.output='projection'"),
        ({"service__output": "label"}, "'direct' works on"),
        (
            {"service__output": "logits"},
            "unknown service.output 'logits'; known: label",
        ),
        ({"steal__rounds": 301}, "rounds is 301, but only 300 are asked"),
        ({"steal__plan": "x"}, "unknown plan 'x'; known: kmeans, narrow, random"),
        ({"steal__plan": "kmeans", "steal__plan_features": "x"}, "plan_features 'x'"),
        ({"service__image_limit": 299}, "image_limit is 299.*needs 300 images"),
        ({"service__call_limit": 4}, "call_limit is 4.*needs 5 calls"),
        ({"service__total_image_limit": 299}, "total_image_limit is 299"),
        ({"service__repeats": "x"}, "service.repeats 'x'; known: fresh, memoised"),
        ({"steal__accounts": 0}, "steal.accounts must be above 0"),
        ({"steal__attack_kw__direct__train_on": "x"}, "unknown train_on 'x'"),
        (
            {"steal__loss": "bce", "steal__loss_kw__bce__threshold": 1.0},
            "threshold.*less",
        ),
        (
            {"steal__loss": "supcon", "steal__loss_kw__supcon__labels": 1},
            "labels.*2 to 300",
        ),
        ({"steal__batch_size": 1}, "steal: a batch must be 2 images at least"),
        ({"steal__accounts": 50}, "accounts is 50, but the plan makes only 5 calls"),
        ({"steal__ask_views": 2}, "asks the same image again"),
        ({"service__call_limit": -1}, "call_limit must be 0 or more"),
        ({"also": ("also=x",)}, "also.*is not KEY=VALUE"),
        ({"also": ("service.image_limit=x",)}, "is not of type int"),
        (
            {"steal__ssl__objective": "supervised", "steal__attack": "warm_start"},
            "without labels",
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_asked(changes, line, tmp_path):
    # Catches a setting that is ignored, or found out after the queries are paid for.
    with pytest.raises(UserError, match=line) as refused:
        resolve(tiny.config(**changes), tmp_path)
    assert "\n" not in str(refused.value) and not any(tmp_path.iterdir())


def test_limits_are_of_each_account(tmp_path):
    # Catches a plan for two accounts that is held against one's limit.
    c = tiny.config(steal__accounts=2, service__call_size=100)
    r = resolve(c, tmp_path).thefts[0].responses.recipe
    assert (r["image_limit"], r["call_limit"]) == (200, None)
    with pytest.raises(UserError, match="image_limit is 150.*needs 200.*an account"):
        resolve(
            tiny.config(
                steal__accounts=2, service__call_size=100, service__image_limit=150
            ),
            tmp_path,
        )
