"""What a service gives away: which answers of the victim, and what is done to them."""

from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from sslx.build import make_objective
from sslx.embed.classifier import CLASSIFIED
from sslx.embed.recording import recorded_in
from sslx.experiment.pools import Measured
from sslx.experiment.victims import classifier_run
from sslx.models import make_encoder
from sslx.registry import code_of
from sslx.runs.names import Run
from sslx.service import Defence, check_defence, make_defence
from sslx.service.secret import read_secret, seal
from sslx.service.trial import try_defence
from sslx.types import UserError, refuse_if


class Served(NamedTuple):
    """What is behind a service.

    Attributes:
        parents: The runs that it needs.
        recipe: What determines its answers.
    """

    parents: dict[str, Run]
    recipe: dict[str, Any]


def served(config: ConfigDict, victim: Run, measured: Measured | None) -> Served:
    """What the service section puts before a victim.

    Args:
        config: Of one combination.
        victim: Who answers.
        measured: The images that its provider measures its answers on.

    Raises:
        UserError: What is wrong in the section, or does not fit the victim.
    """
    service, parents, classes = config.service, {"victim": victim}, 0
    defence, defended = defence_of(config)
    wanted = "calibration" in defence.wants
    refuse_if(
        wanted and recorded_in(config.victim.source),
        f"service.defence={defended['defence']!r} measures the victim's answers first, "
        "and a recording has none but the attacker's",
    )
    refuse_if(
        "gradient" in defence.wants
        and (service.output in CLASSIFIED or "dim" in victim.recipe),
        f"service.defence={defended['defence']!r} wants the victim's gradient, which "
        "is known of encoders that run here: of service.output='representation' or "
        "'projection', and of no API's",
    )
    if service.output in CLASSIFIED:
        parents["classifier"] = classifier_run(config, victim)
        classes = parents["classifier"].recipe["classes"]
    raw = _answer_dim(service.output, victim, classes)
    if ":" in defended["defence"] and "gradient" not in defence.wants:  # one's own
        form = raw, victim.recipe["image_shape"], service.output
        try_defence(defence, defended["defence"], *form)
    dim = defence.out_dim(raw)
    # Raise where calls are larger than the defence takes, or images too small for it.
    state = defence.init(raw, np.zeros(8, np.uint32))
    defence.demand(state, max(1, service.call_size))
    if "gradient" in defence.wants:
        blank = np.zeros((1, *victim.recipe["image_shape"]), np.uint8)
        defence.before(state, blank, lambda score, images: np.ones(images.shape))
    recipe = {
        "output": service.output,
        "dim": dim,
        **({} if dim == raw else {"raw_dim": raw}),
        "classes": classes,
        **defended,
        **({"calibration": measured.recipe} if measured and wanted else {}),
    }
    return Served(parents, recipe)


def _answer_dim(output: str, victim: Run, classes: int) -> int:
    """Numbers of a victim's answer, before any defence.

    Raises:
        UserError: The victim has no such output.
    """
    r = victim.recipe
    if output == "probabilities":
        return classes
    if output == "label":
        return 1
    if output == "representation":
        if "dim" in r:  # an API's
            return r["dim"]
        return make_encoder(r["encoder"]["name"], **r["encoder"]["kw"]).dim
    refuse_if(
        "objective" not in r,
        "service.output='projection' needs a victim that was trained here; write "
        "representation",
    )
    head = make_objective(r).head
    if head is None:
        raise UserError(
            f"service.output='projection', but objective {r['objective']!r} has no "
            "projection head; write representation"
        )
    return head["widths"][-1]


def names_of(config: ConfigDict) -> tuple[str, ...]:
    """The defences of a service, the first next to the victim.

    Raises:
        UserError: There is none, or they are no names.
    """
    given = config.service.defence
    names = tuple(given.split("+")) if isinstance(given, str) else tuple(given or ())
    if not names or not all(isinstance(name, str) and name for name in names):
        raise UserError(
            f"service.defence must be a name or a tuple of names, not {given!r}"
        )
    refuse_if(
        len(names) > 1 and "none" in names,
        f"service.defence: 'none' stands alone, not in {given}",
    )
    return names


def defence_of(config: ConfigDict) -> tuple[Defence, dict[str, Any]]:
    """The defence of a service and its part of a recipe.

    Raises:
        UserError: What is wrong in the section, or what it wants and is not given.
    """
    service, names = config.service, names_of(config)
    blocks = service.defence_kw.to_dict()
    numbers = {name: blocks.get(name.rpartition(":")[2], {}) for name in names}
    defence = make_defence(names, numbers)
    numbers = {name: block for name, block in numbers.items() if block}
    given = {"secret", "gradient"}  # the latter's kind is seen when the victim is open
    given |= {"calibration"} if service.calibration.images else set()
    refuse_if(
        "calibration" in defence.wants and "calibration" not in given,
        f"service.defence={'+'.join(names)!r} measures the victim's answers first: "
        "write how many images it may have for that in service.calibration.images",
    )
    check_defence(defence, given)
    secret = {}
    if service.secret and "secret" in defence.wants:
        secret = {"secret": seal(read_secret(service.secret))}
    return defence, {
        "defence": "+".join(names),
        **({"defence_numbers": numbers} if numbers else {}),
        **secret,
        **code_of(*names),
    }
