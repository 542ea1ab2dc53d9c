"""The probe of the study that sslx re-implements, to compare with its figures only.

Dziedzic et al. 2022; the numbers are those of its released linear_eval.py for 32-pixel
data sets, where a network stays in training mode: its features go by the statistics of
each batch, of ``BATCH`` images when the layer is trained and ``TEST_BATCH`` in the
test, and only the last ``TEST_IMAGES`` test images count. Not kept: its accuracy is a
mean over batches. The result depends on the learning rate, which the study has unequal
for victim and stolen encoder.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Integer

from sslx.types import refuse_if

EPOCHS = 100
BATCH = 256  # in the same order every epoch; the last one of an epoch is smaller
TEST_BATCH = 64
TEST_IMAGES = 1000
WEIGHT_DECAY = 8e-4  # added to the gradient before Adam's moments, bias included
LEARNING_RATES = {"victim": 3e-4, "stolen": 1e-4}  # never lowered

Layer = dict[str, Array]  # "weights" (d, k), "bias" (k,)


def reference_probe(
    train_features: Float[np.ndarray, "n d"],
    train_labels: Integer[np.ndarray, " n"],
    test_features: Float[np.ndarray, "m d"],
    *,
    classes: int,
    learning_rate: float,
    seed: int,
) -> Integer[np.ndarray, " m"]:
    """Trains a linear layer by Adam as the study does, and predicts the test rows.

    Features are taken as they are, not standardised; nothing is chosen and nothing
    converges: after 100 epochs it stops.

    Args:
        train_features: Finite; their order is the order of the batches.
        train_labels: Values 0 to classes - 1.
        test_features: Finite, of the same width.
        classes: Number of classes.
        learning_rate: Positive; the study's are ``LEARNING_RATES``.
        seed: Of the initial weights.

    Returns:
        The predicted class of each test row, int64.

    Raises:
        UserError: Labels, features or rate are out of their range.
    """
    for name, features in (("training", train_features), ("test", test_features)):
        refuse_if(
            not np.isfinite(features).all(),
            f"reference probe: the {name} features are not finite",
        )
    refuse_if(
        train_labels.min() < 0 or train_labels.max() >= classes,
        f"reference probe: labels run from {train_labels.min()} to "
        f"{train_labels.max()}, not 0 to {classes - 1}",
    )
    refuse_if(
        not learning_rate > 0,
        f"reference probe: learning_rate={learning_rate} must be above 0",
    )
    layer = initial(jax.random.key(seed), train_features.shape[1], classes)
    layer = train(
        layer, jnp.asarray(train_features), jnp.asarray(train_labels), learning_rate
    )
    weights, bias = np.asarray(layer["weights"]), np.asarray(layer["bias"])
    return (test_features @ weights + bias).argmax(1)


def initial(key: Array, d: int, classes: int) -> Layer:
    """PyTorch's default for a linear layer: all uniform within 1 / sqrt(d) of 0."""
    one, two = jax.random.split(key)
    within = {"minval": -(d**-0.5), "maxval": d**-0.5}
    return {
        "weights": jax.random.uniform(one, (d, classes), **within),
        "bias": jax.random.uniform(two, (classes,), **within),
    }


@partial(jax.jit, static_argnames="epochs")
def train(
    layer: Layer,
    features: Float[Array, "n d"],
    labels: Integer[Array, " n"],
    learning_rate: float | Array,
    epochs: int = EPOCHS,
) -> Layer:
    """All epochs in one program, mean cross-entropy of each batch."""
    optimiser = optax.chain(
        optax.add_decayed_weights(WEIGHT_DECAY), optax.adam(learning_rate)
    )
    whole = len(labels) // BATCH * BATCH
    batches = (
        features[:whole].reshape(-1, BATCH, features.shape[1]),
        labels[:whole].reshape(-1, BATCH),
    )

    def loss(layer, features, labels):
        logits = features @ layer["weights"] + layer["bias"][None]
        each = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return each.mean()

    def update(state, batch):
        layer, moments = state
        changes, moments = optimiser.update(
            jax.grad(loss)(layer, *batch), moments, layer
        )
        return (optax.apply_updates(layer, changes), moments), None

    def epoch(state, _):
        state, _ = jax.lax.scan(update, state, batches)
        if whole < len(labels):
            state, _ = update(state, (features[whole:], labels[whole:]))
        return state, None

    start = (layer, optimiser.init(layer))
    return jax.lax.scan(epoch, start, None, length=epochs)[0][0]
