"""The thefts a config asks for: what each asks, trains first, and trains on answers."""

from collections.abc import Mapping
from typing import NamedTuple

from ml_collections import ConfigDict

from sslx.attacks import Attack, attack_of
from sslx.attacks.attack import OWN
from sslx.attacks.cleaning import wanted
from sslx.build import make_head, make_theft
from sslx.embed.classifier import CLASSIFIED, OUTPUTS
from sslx.experiment.pools import Measured, Pool, measured_on, open_pool
from sslx.experiment.recipes import (
    block_of,
    encoder_of,
    normalisation,
    training,
    views_of,
    whole_seed,
)
from sslx.experiment.separation import Test
from sslx.experiment.thefts.alone import alone_runs, own_encoder, ssl_run
from sslx.experiment.thefts.cleaned import clean_part, images_trained, views_left
from sslx.experiment.thefts.held_back import check_classifier, share_back, whole
from sslx.experiment.thefts.responses import responses_run
from sslx.losses import LOSSES, loss_of
from sslx.queries.choosers import PLANS
from sslx.registry import Traits, code_of, pick, traits_of
from sslx.runs.names import Run, make_run
from sslx.types import Encoder, UserError, refuse_if


class Theft(NamedTuple):
    """One theft: the answers it pays for and the stealer trained on them.

    Attributes:
        attack: Name of the attack.
        loss: Name of the loss; "own" for an attack that has one.
        responses: The run of the service; None where the victim is not asked.
        steal: The run of the stealer.
        pool: The attacker's images.
        measured: The provider's, where he has some.
        alone: Runs of its network trained in as many passes without an answer, and
            in some times as many.
    """

    attack: str
    loss: str
    responses: Run | None
    steal: Run
    pool: Pool
    measured: Measured | None
    alone: list[Run]


def make_theft_runs(
    config: ConfigDict, victim: Run, tests: list[Test], headline: int
) -> Theft:
    """The theft that the steal section describes.

    Args:
        config: Of one combination.
        victim: Whom it steals from.
        tests: What is judged on.
        headline: The budget of the experiment's first theft, in queries.

    Raises:
        UserError: What is wrong in the section.
    """
    if config.steal.seed is not None:
        # All that the attacker draws is of this seed: queries, weights, data order.
        config = config.copy_and_resolve_references().unlock()
        config.seed = config.steal.seed
        whole_seed("steal.seed", config.seed)
    s = config.steal
    attack = attack_of(s.attack)
    loss = _loss(s, attack)
    encoder = encoder_of(s, config.precision)
    pool = open_pool(config, tests)
    by_features = attack.asks and pick(PLANS, s.plan, "plan").needs_features
    by_ssl = by_features and s.plan_features == "ssl"
    ssl = ssl_run(config, encoder, pool, victim) if attack.warm else None
    if not attack.asks:
        assert ssl is not None  # there would be nothing to train
        return Theft(s.attack, loss, None, ssl, pool, None, [])
    service = config.service
    pick(dict.fromkeys(OUTPUTS), service.output, "service.output")
    refuse_if(
        service.output not in attack.outputs,
        f"attack {s.attack!r} works on service.output="
        f"{' or '.join(map(repr, attack.outputs))}, not {service.output!r}",
    )
    refuse_if(
        views_left(s) < attack.least_views,
        f"attack {s.attack!r} compares {attack.least_views} views of an image; "
        f"steal.ask_views is {s.ask_views}",
    )
    # What is asked is the same, whatever is held back of it.
    selector = ssl_run(whole(config), encoder, pool, victim) if by_ssl else None
    measured = measured_on(config, tests)
    responses = responses_run(config, pool, measured, victim, encoder, selector)
    numbers = {}
    if attack.objective is not None:
        numbers = block_of(s.attack, s.attack_kw, attack.objective, "attack")
    common = {
        "seed": config.seed,
        "attack": s.attack,
        "attack_numbers": numbers,
        "image_shape": victim.recipe["image_shape"],
    }
    head = _head_run(s, common, responses) if attack.head else None
    earlier = {"ssl": ssl if attack.warm else None, "head": head}
    if wanted(s.clean, "features"):
        earlier["own"] = own_encoder(config, encoder, pool, victim, responses)
    if after := wanted(s.clean, "predicted"):
        first = config.copy_and_resolve_references().unlock()
        first.steal.clean = tuple(name for name in s.clean if name not in after)
        earlier["first"] = _steal_run(first, common, loss, encoder, responses, earlier)
    steal = _steal_run(config, common, loss, encoder, responses, earlier)
    _check_fit(s, steal, encoder, victim, pool)
    alone = alone_runs(config, encoder, pool, steal, headline)
    return Theft(s.attack, loss, responses, steal, pool, measured, alone)


def _loss(steal: ConfigDict, attack: Attack) -> str:
    """The name of the loss, which an attack may have of its own."""
    if attack.takes_loss:
        refuse_if(
            steal.loss == OWN,
            f"attack {steal.attack!r} has no loss of its own; name one in "
            f"steal.loss: {', '.join(sorted(LOSSES))}",
        )
        loss_of(steal.loss)
    elif steal.loss != OWN:
        raise UserError(
            f"attack {steal.attack!r} has a loss of its own; write steal.loss='own', "
            f"not {steal.loss!r}"
        )
    return steal.loss


def _head_run(steal: ConfigDict, common: dict, responses: Run) -> Run:
    """The run of a projection head, trained on the answers."""
    n = images_trained(steal)
    recipe = {
        **common,
        **training(steal.head, "steal.head", n, 1),
        **share_back(steal),
        **code_of(steal.attack),
    }
    slug = f"{steal.attack}-head-{steal.queries}q-s{common['seed']}"
    parents = {"responses": responses}
    return make_run(responses.workdir, "steal", slug, recipe, parents)


def _steal_run(
    config: ConfigDict,
    common: dict,
    loss: str,
    encoder: Encoder,
    responses: Run,
    earlier: Mapping[str, Run | None],
) -> Run:
    """The stealer's run on the answers of a responses run.

    ``earlier`` are what is trained before it, by what it is to the stealer.
    """
    s, attack = config.steal, attack_of(config.steal.attack)
    numbers = {}
    if loss != OWN:
        numbers = block_of(loss, s.loss_kw, loss_of(loss), "loss")
    views = attack.passes(common["attack_numbers"], views_left(s))
    recipe = {
        **common,
        "loss": loss,
        "numbers": numbers,
        **normalisation(config, common["image_shape"][2]),
        "encoder": encoder.meta,
        "augment": views_of(s.augment)[:1],  # a stealer sees one view at a time
        **training(s, "steal", images_trained(s), views),
        **share_back(s),
        **clean_part(config, encoder, responses),
        **code_of(s.attack, loss, *s.clean),
    }
    slug = "-".join([s.attack, *([loss] if loss != OWN else [])])
    slug += f"-{s.encoder}-{s.queries}q-s{config.seed}"
    parents = {"responses": responses} | {k: r for k, r in earlier.items() if r}
    words = {"augment": s.augment}
    return make_run(responses.workdir, "steal", slug, recipe, parents, words)


def _check_labels(key: str, labels: int, steal: ConfigDict, pool: Pool) -> None:
    """Raises unless there are such labels: the true ones (0), or so many clusters."""
    images = images_trained(steal)
    refuse_if(
        labels == 0 and not pool.labelled,
        f"{key}=0 takes the true labels, and the pool {steal.pool!r} tells no classes "
        "apart; "
        f"{key}=10 takes clusters of the answers",
    )
    refuse_if(
        labels and not 2 <= labels <= images,
        f"{key} must be 0 or a number of clusters from 2 to {images}, the images "
        f"{'trained on' if steal.held_back.share else 'asked'}, not {labels}",
    )


def _check_fit(
    steal: ConfigDict, run: Run, encoder: Encoder, victim: Run, pool: Pool
) -> None:
    """Raises where attack, loss and answers do not go together."""
    responses, loss = run.parents["responses"].recipe, run.recipe["loss"]
    attack = attack_of(steal.attack)
    traits = Traits() if loss == OWN else traits_of(loss_of(loss))
    refuse_if(
        traits.paired and views_left(steal) != 2,
        f"loss {loss!r} is that of two views of an image; write steal.ask_views=2",
    )
    numbers, block = run.recipe["numbers"], f"steal.loss_kw.{loss.rpartition(':')[2]}"
    if traits.labels:
        _check_labels(f"{block}.labels", numbers["labels"], steal, pool)
    for name in traits.quantiles:
        refuse_if(
            not numbers[name] < 1,
            f"{block}.{name} is the share of the answers below it and must be less "
            f"than 1, not {numbers[name]}",
        )
        refuse_if(
            attack.head,
            f"loss {loss!r} takes its {name}s from the answers, and attack "
            f"{steal.attack!r} compares what its head makes of them; choose "
            "another steal.loss",
        )
    dim = run.recipe.get("clean_dim", responses["dim"])
    if traits.non_negative:
        why = None
        if responses["output"] == "projection" or "encoder" not in victim.recipe:
            why = "the victim's answers may be negative"
        elif attack.through_head:
            why = f"attack {steal.attack!r} compares what comes out of a head"
        elif dim != encoder.dim:
            why = f"the linear map to the {dim} numbers of an answer may be negative"
        refuse_if(
            why,
            f"loss {loss!r} compares histograms, which cannot be negative: {why}; "
            "choose another steal.loss",
        )
    # Built as for training, but of nothing: a wrong form or name is said here.
    objective = make_theft(run.recipe, dim, responses["classes"])
    if "held_back" in run.recipe and responses["output"] in CLASSIFIED:
        check_classifier(steal.attack, objective, run)
    if attack.head:
        make_head(run.parents["head"].recipe, dim)
