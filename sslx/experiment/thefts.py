"""The thefts a config asks for: what each asks, trains first, and trains on answers."""

from typing import Any, NamedTuple

from ml_collections import ConfigDict

from sslx.attacks import Attack, attack_of
from sslx.attacks.attack import OWN
from sslx.build import make_head, make_theft, passes_of, trainings_of
from sslx.embed.classifier import CLASSIFIED, OUTPUTS
from sslx.experiment.held_back import (
    check_classifier,
    share_back,
    trained_on,
    unlabelled_back,
    whole,
)
from sslx.experiment.pools import (
    Measured,
    Pool,
    measured_on,
    not_beside_older,
    open_pool,
    pool_part,
)
from sslx.experiment.recipes import (
    block_of,
    encoder_of,
    normalisation,
    training,
    unlabelled,
    views_of,
    whole_seed,
)
from sslx.experiment.responses import responses_run
from sslx.experiment.separation import Test
from sslx.losses import LOSSES, loss_of
from sslx.objectives import OBJECTIVES
from sslx.queries.choosers import PLANS
from sslx.registry import Traits, code_of, pick, traits_of
from sslx.runs.names import Run, make_run
from sslx.types import Encoder, UserError, refuse_if

IMAGES = ("pool", "asked")  # what a stealer may train on without answers


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
    ssl = _ssl_run(config, encoder, pool, victim) if attack.warm else None
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
        s.ask_views < attack.least_views,
        f"attack {s.attack!r} compares {attack.least_views} views of an image; "
        f"steal.ask_views is {s.ask_views}",
    )
    # What is asked is the same, whatever is held back of it.
    selector = _ssl_run(whole(config), encoder, pool, victim) if by_ssl else None
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
    steal = _steal_run(config, common, loss, encoder, responses, ssl, head)
    _check_fit(s, steal, encoder, victim, pool)
    alone = _alone_runs(config, encoder, pool, steal, headline)
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


def _alone_runs(
    config: ConfigDict, encoder: Encoder, pool: Pool, steal: Run, headline: int
) -> list[Run]:
    """What ``steal.alone`` puts beside a theft."""
    s = config.steal
    # As they were asked for: those of a run are a batch's rounding off, and a training
    # on the pool would be another beside each budget.
    wanted = [part.passes for part in (s, s.ssl) if part is s or "ssl" in steal.parents]
    made = (passes_of(run) or 0 for run in trainings_of(steal))
    passes = sum(wanted) if all(wanted) else sum(made)
    responses, out = steal.parents["responses"], []
    for entry in s.alone:
        images, _, times = entry.partition(":")
        pick(dict.fromkeys(IMAGES), images, "steal.alone")
        refuse_if(
            times and not (times.isdigit() and int(times) > 1),
            f"steal.alone: {entry!r} must be 'asked' or 'pool', or 'asked:5' for five "
            "times as many passes",
        )
        if times and s.queries != headline:
            continue
        own = config.copy_and_resolve_references().unlock()
        own.steal.ssl.images, own.steal.ssl.steps = images, 0
        own.steal.ssl.passes = int(times or 1) * passes
        out.append(_ssl_run(own, encoder, pool, responses.parents["victim"], responses))
    return out


def _asked_part(
    config: ConfigDict, responses: Run | None
) -> tuple[int, dict[str, Any], dict[str, Run]]:
    """Of a training on the images that are asked: how many, recipe and parents.

    What is drawn without looking at anything needs no run that asks, so that thefts of
    other answers to the same images stand beside the same training.
    """
    s = config.steal
    count = s.queries // s.ask_views
    if not pick(PLANS, s.plan, "plan").needs_features:
        return count, {"asked": {"images": count, "rounds": s.rounds}}, {}
    if responses is None:
        raise UserError(
            f"steal.ssl.images='asked' with steal.plan={s.plan!r} must know what is "
            "asked; write steal.ssl.images='pool', or steal.alone=('asked',) beside an "
            "attack that asks"
        )
    return count, {}, {"asked": responses}


def _ssl_run(
    config: ConfigDict,
    encoder: Encoder,
    pool: Pool,
    victim: Run,
    responses: Run | None = None,
) -> Run:
    """The run of the stealer's network, trained without labels on images of the pool.

    Args:
        config: Of the attacker.
        encoder: The network.
        pool: All his images.
        victim: Whom they are for.
        responses: The run that asks, where there is one by now.
    """
    s, shape = config.steal, victim.recipe["image_shape"]
    pick(dict.fromkeys(IMAGES), s.ssl.images, "steal.ssl.images")
    count = pool.size
    asked: dict[str, Any] = {}
    parents: dict[str, Run] = {}
    if s.ssl.images == "asked":
        count, asked, parents = _asked_part(config, responses)
    refuse_if(
        traits_of(pick(OBJECTIVES, s.ssl.objective, "objective")).labels,
        f"steal.ssl.objective must do without labels, not {s.ssl.objective!r}",
    )
    refuse_if(
        list(pool.image_shape) != shape,
        f"steal.pool {s.pool!r} has images of shape {pool.image_shape}, the victim "
        f"takes {tuple(shape)}",
    )
    recipe = {
        "seed": config.seed,
        "role": "stealer",  # see build.seed_of
        "attack": "ssl_only",
        **pool_part(config, pool),
        **asked,
        "image_shape": shape,
        **normalisation(config, shape[2]),
        **unlabelled(s.ssl, "steal.ssl", encoder, 0, trained_on(s, count)),
        **unlabelled_back(s),
    }
    slug = f"ssl_only-{s.ssl.objective}-{s.encoder}-{pool.slug}"
    slug += (
        f"-{count}i-s{config.seed}" if s.ssl.images == "asked" else f"-s{config.seed}"
    )
    words = {"augment": s.ssl.augment} | pool.apart.words()
    run = make_run(victim.workdir, "steal", slug, recipe, parents, words)
    return not_beside_older(run, config.data.split_seed)


def _head_run(steal: ConfigDict, common: dict, responses: Run) -> Run:
    """The run of a projection head, trained on the answers."""
    n = trained_on(steal, steal.queries // steal.ask_views)
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
    ssl: Run | None,
    head: Run | None,
) -> Run:
    """The stealer's run on the answers of a responses run."""
    s, attack = config.steal, attack_of(config.steal.attack)
    numbers = {}
    if loss != OWN:
        numbers = block_of(loss, s.loss_kw, loss_of(loss), "loss")
    views = attack.passes(common["attack_numbers"], s.ask_views)
    recipe = {
        **common,
        "loss": loss,
        "numbers": numbers,
        **normalisation(config, common["image_shape"][2]),
        "encoder": encoder.meta,
        "augment": views_of(s.augment)[:1],  # a stealer sees one view at a time
        **training(s, "steal", trained_on(s, s.queries // s.ask_views), views),
        **share_back(s),
        **code_of(s.attack, loss),
    }
    slug = "-".join([s.attack, *([loss] if loss != OWN else [])])
    slug += f"-{s.encoder}-{s.queries}q-s{config.seed}"
    earlier = {"ssl": ssl if attack.warm else None, "head": head}
    parents = {"responses": responses} | {k: r for k, r in earlier.items() if r}
    words = {"augment": s.augment}
    return make_run(responses.workdir, "steal", slug, recipe, parents, words)


def _check_labels(key: str, labels: int, steal: ConfigDict, pool: Pool) -> None:
    """Raises unless there are such labels: the true ones (0), or so many clusters."""
    images = trained_on(steal, steal.queries // steal.ask_views)
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
        traits.paired and steal.ask_views != 2,
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
    dim = responses["dim"]
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
