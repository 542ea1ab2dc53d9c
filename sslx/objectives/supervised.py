"""Training on labels, as a comparison: what an encoder of the same size can do."""

import jax
import jax.numpy as jnp
import optax

from sslx.models.heads import make_mlp
from sslx.objectives.siamese import Views, unchanged
from sslx.registry import traits
from sslx.types import Encoder, Objective, Out, Task, refuse_if


@traits(labels=True)
def supervised(encoder: Encoder, views: Views, task: Task) -> Objective:
    """The objective; a batch is ``{"images": uint8 (b, h, w, c), "labels": int (b,)}``.

    Mean cross-entropy of a linear classifier on the features of one view. No
    difference between classes: log k. Metrics: ``top1``.

    The classifier is kept, under a name of its own: as ``"projector"`` it would be what
    a service answers as a projection, and logits are none.

    Args:
        encoder: The trunk.
        views: ``(key, images) -> (b, 1, h, w, c)``.
        task: Type of the computation and number of classes.

    Raises:
        UserError: The data set has no classes.
    """
    refuse_if(
        not task.classes,
        "objective 'supervised' needs labels; the data set has none",
    )
    head_init, head_apply = make_mlp((task.classes,), dtype=task.dtype)

    def init(key, batch):
        trunk_key, head_key, view_key = jax.random.split(key, 3)
        view = views(view_key, batch["images"])[:, 0]
        params, stats = encoder.init(trunk_key, view)
        head, _ = head_init(head_key, jnp.zeros((1, encoder.dim)))
        return {"encoder": params, "classifier": head}, {"encoder": stats}, {}

    def loss(params, stats, extras, batch, key):
        view = views(key, batch["images"])[:, 0]
        y, trunk = encoder.apply(params["encoder"], stats["encoder"], view, True)
        logits, _ = head_apply(params["classifier"], {}, y, True)
        labels = batch["labels"]
        cross = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        metrics = {"top1": jnp.mean(jnp.argmax(logits, axis=1) == labels)}
        return jnp.mean(cross), Out({"encoder": trunk}, extras, metrics)

    return Objective(init, loss, unchanged, None, ("images", "labels"), 1)
