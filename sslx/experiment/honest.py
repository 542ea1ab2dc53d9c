"""The honest users of a service, beside whoever steals from it."""

from typing import Any

from ml_collections import ConfigDict

from sslx import data
from sslx.data.presets import PRESETS
from sslx.experiment.pools import Measured, measured_on
from sslx.experiment.probes import check_shape, on_set
from sslx.experiment.recipes import check_solver, positive, reading, share
from sslx.experiment.separation import Test
from sslx.experiment.served import served
from sslx.experiment.thefts import Theft
from sslx.experiment.victims import unanswered
from sslx.queries.honest import EACH, FRAMES, TRIES, USERS
from sslx.registry import defaults, pick
from sslx.runs.names import Run, fingerprint, make_run
from sslx.service.detectors import DETECTORS
from sslx.service.terms import LIMITS
from sslx.types import UserError, refuse_if


def beside(config: ConfigDict) -> dict[str, data.Info]:
    """The sets besides the probe's first whose test images honest users send.

    Raises:
        UserError: One is not at hand, has no classes or no test images.
    """
    found, wanted = {}, config.service.honest
    for name in wanted.beside if wanted.users else ():
        found[name] = data.describe(name, reading(config))
        what = f"service.honest.beside: {name!r}"
        data.check_labelled(found[name], what, "users train classifiers")
        data.check_has(found[name], "test", what)
    return found


def make_honest(
    config: ConfigDict,
    victim: Run,
    theft: Theft | None,
    tests: list[Test],
    beside: list[Test],
) -> list[Run]:
    """Honest users, and who of them and of the thieves is taken for a thief.

    Args:
        config: Of one combination.
        victim: Whose service they use.
        theft: The theft, if there is one.
        tests: What probes judge on; the test images of the first are honest users'.
        beside: So are those of these sets.

    Raises:
        UserError: What is wrong in ``service.honest``.
    """
    if not config.service.honest.users:
        return []
    domains = [tests[0], *beside]
    known: dict[str, str] = {}
    for test in domains:
        key = fingerprint(test.info.identity)
        refuse_if(
            key in known,
            f"service.honest.beside: {test.name!r} is {known.get(key)!r}, whose test "
            "images are honest users' anyway",
        )
        known[key] = test.name
    measured = measured_on(config, [*tests, *beside])
    users = _honest_runs(config, victim, measured, domains)
    return [*users, *(_detection_runs(config, users, theft) if theft else [])]


def _honest_runs(
    config: ConfigDict,
    victim: Run,
    measured: Measured | None,
    domains: list[Test],
) -> list[Run]:
    """A run for each kind and size, on the test images of the domains."""
    wanted, out = config.service.honest, []
    positive("service.honest", {"users": wanted.users})
    refuse_if(
        not wanted.kinds or not wanted.sizes,
        "service.honest.users asks for honest users, and kinds or sizes name none",
    )
    check_solver("service.honest", wanted)
    for test in domains[1:]:
        check_shape(victim, "service.honest.beside", test.name, test.info)
    for name, count in unanswered(config, [test.name for test in domains]).items():
        raise UserError(
            f"service.honest: {count} test images of {name!r} are not recorded in "
            f"{config.victim.source!r}, and its users send them; write users=0"
        )
    on, *beside = [on_set(config, test) for test in domains]
    known = sum(len(test.rows) for test in domains)
    names = ", ".join(repr(test.name) for test in domains)
    sold = served(config, victim, measured)
    plain = config.copy_and_resolve_references().unlock()
    plain.service.defence = "none"
    undefended = served(plain, victim, None)
    for user in wanted.kinds:
        pick(USERS, user, "honest user")
        for size in wanted.sizes:
            refuse_if(
                not 20 <= size <= known // 2,
                f"service.honest.sizes: {size} is not from 20 to {known // 2}, half of "
                f"the test images of {names}",
            )
            recipe = {
                "seed": config.seed,
                "user": user,
                "size": size,
                "users": wanted.users,
                **_made(user),
                **on,
                **({"beside": beside} if beside else {}),
                **(dict.fromkeys(LIMITS) | {"image_limit": size}),
                "call_size": config.service.call_size,
                "price": float(config.service.price),
                "repeats": config.service.repeats,
                "l2_grid": list(wanted.l2_grid),
                "validation": wanted.validation,
                "tolerance": wanted.tolerance,
                "max_iterations": wanted.max_iterations,
                "confidence": config.probe.confidence,
            }
            slug = f"{user}-{size}i-{domains[0].info.slug}-s{config.seed}"
            named = victim.workdir, "honest", slug
            run = make_run(*named, recipe | undefended.recipe, undefended.parents)
            if sold.recipe != undefended.recipe:
                parents = sold.parents | {"clean": run}
                run = make_run(*named, recipe | sold.recipe, parents)
            out.append(run)
    return out


def _made(user: str) -> dict[str, Any]:
    """What makes a kind of user besides its name and its size."""
    made: dict[str, Any] = {"each": EACH}
    if user == "video":
        made |= {"frames": FRAMES, "frame": PRESETS["frame"][0]._asdict()}
    return made | ({"tries": TRIES} if user == "retries" else {})


def _detection_runs(config: ConfigDict, honest: list[Run], theft: Theft) -> list[Run]:
    """Whether detectors tell the thief from these honest users.

    From those of the greatest size that a thief's account has, too: a stream is as
    long as they are.
    """
    wanted, asked = config.service.honest, theft.responses
    if not honest or not wanted.detectors or not asked:
        return []
    found = {name: pick(DETECTORS, name, "detector") for name in wanted.detectors}
    share("service.honest.false_alarms", wanted.false_alarms)
    each = asked.recipe["queries"] // asked.recipe.get("accounts", 1)
    length = max((n for n in wanted.sizes if n <= each), default=max(wanted.sizes))
    recipe = {
        "detectors": {name: defaults(entry) for name, entry in found.items()},
        "rate": wanted.false_alarms,
        "length": length,
    }
    users = [run for run in honest if run.recipe["size"] == recipe["length"]]
    parents = {"asked": asked} | {f"honest{i}": run for i, run in enumerate(users)}
    slug = asked.name.rpartition("-")[0]
    return [make_run(asked.workdir, "detection", slug, recipe, parents)]
