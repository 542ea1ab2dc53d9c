"""What the attacker trains without an answer: beside a theft, or before he asks."""

from typing import Any

from ml_collections import ConfigDict

from sslx.build import passes_of, trainings_of
from sslx.experiment.pools import Pool, not_beside_older, pool_part
from sslx.experiment.recipes import IMAGES, normalisation, unlabelled
from sslx.experiment.thefts.cleaned import images_asked
from sslx.experiment.thefts.held_back import trained_on, unlabelled_back
from sslx.objectives import OBJECTIVES
from sslx.progress import say_once
from sslx.queries.choosers import PLANS
from sslx.registry import pick, traits_of
from sslx.runs.names import Run, make_run
from sslx.types import Encoder, UserError, refuse_if


def alone_runs(
    config: ConfigDict, encoder: Encoder, pool: Pool, steal: Run, headline: int
) -> list[Run]:
    """What ``steal.alone`` puts beside a theft.

    Where the budget is the whole pool, "asked" and "pool" are one training, but for the
    order of the images: "pool" is left out.
    """
    s = config.steal
    whole = images_asked(s) == pool.size
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
        if whole and images == "pool" and entry.replace("pool", "asked") in s.alone:
            say_once(
                f"[steal] {pool.size:,} images asked are the whole pool, so "
                f"steal.alone={entry!r} is left out: it would be 'asked' again"
            )
            continue
        own = config.copy_and_resolve_references().unlock()
        own.steal.ssl.images, own.steal.ssl.steps = images, 0
        own.steal.ssl.passes = int(times or 1) * passes
        victim = responses.parents["victim"]
        try:
            out.append(ssl_run(own, encoder, pool, victim, responses))
        except UserError as error:
            raise UserError(
                f"steal.alone={entry!r}: {error}; or leave it out of steal.alone"
            ) from None
    return out


def own_encoder(
    config: ConfigDict, encoder: Encoder, pool: Pool, victim: Run, responses: Run
) -> Run:
    """An encoder of the attacker's own, in which he looks at what he asked.

    It is trained on these images in as many passes as the theft: the run that stands
    beside it as ``steal.alone`` "asked".
    """
    own = config.copy_and_resolve_references().unlock()
    own.steal.ssl.images = "asked"
    if own.steal.passes:
        own.steal.ssl.steps, own.steal.ssl.passes = 0, own.steal.passes
    return ssl_run(own, encoder, pool, victim, responses)


def _asked_part(
    config: ConfigDict, responses: Run | None
) -> tuple[int, dict[str, Any], dict[str, Run]]:
    """Of a training on the images that are asked: how many, recipe and parents.

    What is drawn without looking at anything needs no run that asks, so that thefts of
    other answers to the same images stand beside the same training.
    """
    s = config.steal
    count = images_asked(s)
    if not pick(PLANS, s.plan, "plan").needs_features:
        return count, {"asked": {"images": count, "rounds": s.rounds}}, {}
    if responses is None:
        raise UserError(
            f"steal.ssl.images='asked' with steal.plan={s.plan!r} must know what is "
            "asked; write steal.ssl.images='pool', or steal.alone=('asked',) beside an "
            "attack that asks"
        )
    return count, {}, {"asked": responses}


def ssl_run(
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
