"""The run that asks the victim: which images in which views, and on what terms."""

import math
from typing import Any

from ml_collections import ConfigDict

from sslx.experiment.pools import Measured, Pool, not_beside_older, pool_part
from sslx.experiment.recipes import (
    normalisation,
    numbers,
    positive,
    views_of,
)
from sslx.experiment.served import served
from sslx.queries.choosers import PLANS
from sslx.queries.plan import make_plan
from sslx.registry import pick
from sslx.runs.names import Run, make_run
from sslx.service import REPEATS
from sslx.service.terms import LIMITS
from sslx.types import Encoder, refuse_if


def _plan_part(steal: ConfigDict, pool: Pool) -> dict[str, Any]:
    """What determines which images are asked, and in which views."""
    positive(
        "steal",
        {key: steal[key] for key in ("queries", "ask_views", "rounds", "accounts")},
    )
    images, rest = divmod(steal.queries, steal.ask_views)
    again = steal.anchors * (steal.accounts - 1)
    refuse_if(
        steal.anchors < 0 or (steal.anchors and steal.accounts < 2),
        f"steal.anchors is {steal.anchors}: so many images are asked by each of "
        "several accounts; write steal.accounts=2, or 0 anchors",
    )
    refuse_if(
        images - again < steal.anchors,
        f"steal.queries is {steal.queries}, which {steal.anchors} anchors from "
        f"{steal.accounts} accounts use up",
    )
    images -= again
    refuse_if(
        rest,
        f"steal.queries is {steal.queries}, which {steal.ask_views} views of each "
        f"image do not fill; write {steal.queries - rest} or "
        f"{steal.queries - rest + steal.ask_views}",
    )
    refuse_if(
        images > pool.size,
        f"steal.queries is {steal.queries}"
        + (f", {images} images" if steal.ask_views > 1 else "")
        + f", but the pool {steal.pool!r} has only {pool.size} images"
        + (f" ({pool.apart.why})" if pool.apart.why else ""),
    )
    refuse_if(
        steal.rounds > images,
        f"steal.rounds is {steal.rounds}, but only {images} are asked",
    )
    chosen = numbers(
        {name: chooser.choose for name, chooser in PLANS.items()},
        *(steal.plan, steal.plan_kw, "plan"),
    )
    part = {
        "plan": steal.plan,
        "plan_numbers": chosen,
        "rounds": steal.rounds,
        "queries": steal.queries,
        "views": steal.ask_views,
        "ask_augment": views_of(steal.ask_augment)[:1],
        **({"anchors": steal.anchors} if steal.anchors else {}),
    }
    if PLANS[steal.plan].needs_features:
        pick({"ssl": 1, "untrained": 1}, steal.plan_features, "steal.plan_features")
        positive("steal", {"plan_ridge": steal.plan_ridge})
        part["features"] = steal.plan_features
        if steal.rounds > 1:
            part["ridge"] = steal.plan_ridge
    return part


def _terms(config: ConfigDict, plan: dict[str, Any]) -> dict[str, Any]:
    """What the service sells by: limits, price, repeats; and that the plan fits."""
    service, n = config.service, config.steal.accounts
    positive("service", {"call_size": service.call_size})
    how = {"call_size": service.call_size, "accounts": n}
    calls = make_plan(plan | how).calls
    refuse_if(
        n > len(calls),
        f"steal.accounts is {n}, but the plan makes only {len(calls)} calls",
    )
    sizes = [len(call.queries) for call in calls]
    sent = [sum(sizes[i::n]) for i in range(n)]
    needs = (max(sent), len(sizes[::n]), sum(sent), len(sizes))
    limits = {key: service[key] for key in LIMITS}
    for (key, limit), needed in zip(limits.items(), needs, strict=True):
        refuse_if(
            limit is not None and limit < 0,
            f"service.{key} must be 0 or more, not {limit}",
        )
        refuse_if(
            limit is not None and limit < needed,
            f"service.{key} is {limit}, but the plan of {config.steal.queries} "
            f"queries needs {needed} {'images' if 'image' in key else 'calls'}"
            + ("" if "total" in key else " of an account"),
        )
    if limits["image_limit"] is None:
        limits["image_limit"] = max(sent)
    refuse_if(
        not 0 <= service.price < math.inf,
        f"service.price must be 0 or more, not {service.price}",
    )
    pick(dict.fromkeys(REPEATS), service.repeats, "service.repeats")
    more = {"price": float(service.price), "repeats": service.repeats}
    return limits | how | more


def responses_run(
    config: ConfigDict,
    pool: Pool,
    measured: Measured | None,
    victim: Run,
    encoder: Encoder,
    ssl: Run | None,
) -> Run:
    """The run that asks the victim what the steal section plans.

    Args:
        config: Of one combination.
        pool: The attacker's images.
        measured: The provider's, where he has some.
        victim: Whom it asks.
        encoder: The stealer's, whose untrained features may choose the images.
        ssl: The run of what chooses them instead.
    """
    s, service = config.steal, config.service
    refuse_if(
        list(pool.image_shape) != victim.recipe["image_shape"],
        f"steal.pool {s.pool!r} has images of shape {pool.image_shape}, the "
        f"victim takes {tuple(victim.recipe['image_shape'])}; data.size and "
        "data.channels bring sets together",
    )
    plan = _plan_part(s, pool)
    refuse_if(
        s.ask_views > 1 and s.ask_augment == "none" and service.repeats == "memoised",
        f"steal.ask_views={s.ask_views} with steal.ask_augment='none' asks the "
        "same image again for the answer that is stored; name a preset",
    )
    refuse_if(
        s.pool == "answered" and plan["ask_augment"] != views_of("none"),
        f"steal.ask_augment={s.ask_augment!r} makes images that the recorded API "
        "was not asked; write steal.ask_augment='none'",
    )
    sold = served(config, victim, measured)
    parents = sold.parents | ({"ssl": ssl} if ssl else {})
    recipe = {
        "seed": config.seed,
        **pool_part(config, pool),
        **plan,
        **sold.recipe,
        **_terms(config, plan),
    }
    if plan.get("features") == "untrained":
        recipe["encoder"] = encoder.meta
        recipe |= normalisation(config, pool.image_shape[2])
    slug = f"{s.plan}-{pool.slug}-{s.queries}q-s{config.seed}"
    words = {"ask_augment": s.ask_augment} | pool.apart.words()
    run = make_run(victim.workdir, "responses", slug, recipe, parents, words)
    return not_beside_older(run, config.data.split_seed)
