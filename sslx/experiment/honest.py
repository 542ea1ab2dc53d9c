"""The honest users of a service, beside whoever steals from it."""

from typing import Any

from ml_collections import ConfigDict

from sslx.data.presets import PRESETS
from sslx.experiment.pools import Measured
from sslx.experiment.recipes import check_solver, positive, share
from sslx.experiment.separation import Test
from sslx.experiment.served import served
from sslx.experiment.thefts import Theft
from sslx.queries.honest import FRAMES, TRIES, USERS
from sslx.registry import defaults, pick
from sslx.runs.names import Run, make_run
from sslx.service.detectors import DETECTORS
from sslx.service.terms import LIMITS
from sslx.types import refuse_if


def honest_runs(
    config: ConfigDict,
    victim: Run,
    measured: Measured | None,
    test: Test,
    on: dict[str, Any],
) -> list[Run]:
    """A run for each kind and size of honest users that ``service.honest`` names.

    Args:
        config: Of one combination.
        victim: Whose service they use.
        measured: The images that its provider measures its answers on.
        test: The set whose test images are theirs; nobody else may ask them.
        on: What of it a probe's recipe has.

    Raises:
        UserError: An unknown kind, or the set has too few images.
    """
    wanted, out = config.service.honest, []
    if not wanted.users:
        return []
    positive("service.honest", {"users": wanted.users})
    refuse_if(
        not wanted.kinds or not wanted.sizes,
        "service.honest.users asks for honest users, and kinds or sizes name none",
    )
    check_solver("service.honest", wanted)
    sold = served(config, victim, measured)
    for user in wanted.kinds:
        pick(USERS, user, "honest user")
        for size in wanted.sizes:
            refuse_if(
                not 20 <= size <= len(test.rows) // 2,
                f"service.honest.sizes: {size} is not from 20 to "
                f"{len(test.rows) // 2}, half of the test images of {test.name!r}",
            )
            recipe = {
                "seed": config.seed,
                "user": user,
                "size": size,
                "users": wanted.users,
                **_made(user),
                **on,
                **sold.recipe,
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
            slug = f"{user}-{size}i-{test.info.slug}-s{config.seed}"
            run = make_run(victim.workdir, "honest", slug, recipe, sold.parents)
            out.append(run)
    return out


def _made(user: str) -> dict[str, Any]:
    """What makes a kind of user besides its name and its size."""
    if user == "video":
        return {"frames": FRAMES, "frame": PRESETS["frame"][0]._asdict()}
    return {"tries": TRIES} if user == "retries" else {}


def detection_runs(config: ConfigDict, honest: list[Run], theft: Theft) -> list[Run]:
    """Whether ``service.honest.detectors`` tell a thief from these honest users.

    From those of the greatest size: a stream is as long as they are.

    Raises:
        UserError: An unknown detector, or a share that is none.
    """
    wanted, asked = config.service.honest, theft.responses
    if not honest or not wanted.detectors or not asked:
        return []
    found = {name: pick(DETECTORS, name, "detector") for name in wanted.detectors}
    share("service.honest.false_alarms", wanted.false_alarms)
    recipe = {
        "detectors": {name: defaults(entry) for name, entry in found.items()},
        "rate": wanted.false_alarms,
        "length": max(wanted.sizes),
    }
    users = [run for run in honest if run.recipe["size"] == recipe["length"]]
    parents = {"asked": asked} | {f"honest{i}": run for i, run in enumerate(users)}
    slug = asked.name.rpartition("-")[0]
    return [make_run(asked.workdir, "detection", slug, recipe, parents)]
