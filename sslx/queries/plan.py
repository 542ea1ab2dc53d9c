"""What is sent to a service: how many images in each round, in which calls, by whom."""

from collections.abc import Mapping
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np

from sslx.types import refuse_if


class Call(NamedTuple):
    """One call: who makes it, its id, and which queries of all rounds it is.

    Queries are counted through image by image: query q is view q % views of the image
    that is asked as number q // views.
    """

    account: str
    name: str
    queries: np.ndarray


class Round(NamedTuple):
    """What is asked before the next images are chosen.

    Attributes:
        images: How many are chosen for it.
        calls: That ask them, each of their views once.
    """

    images: int
    calls: list[Call]


class Plan(NamedTuple):
    """All that is sent, whatever images are chosen.

    Attributes:
        views: Of each image.
        accounts: Names; they take turns.
        rounds: In order.
        anchors: So many images, the first, are asked by every account.
    """

    views: int
    accounts: list[str]
    rounds: list[Round]
    anchors: int = 0

    @property
    def calls(self) -> list[Call]:
        """Those of all rounds."""
        return [call for round_ in self.rounds for call in round_.calls]


def shares(images: int, rounds: int) -> list[int]:
    """Images of each round: as equal as can be, the larger ones first.

    Args:
        images: In all (not views).
        rounds: At least 1; no round may be empty.

    Raises:
        UserError: There are no rounds, or more than images.
    """
    refuse_if(
        not 1 <= rounds <= images,
        f"{images} images cannot be asked in {rounds} rounds; write 1 to "
        f"{images} rounds",
    )
    each, more = divmod(images, rounds)
    return [each + (i < more) for i in range(rounds)]


def images_of(r: Mapping[str, Any]) -> int:
    """How many different images a recipe of answers asks; it pays for all it sends."""
    again = r.get("anchors", 0) * r["views"] * (r.get("accounts", 1) - 1)
    return (r["queries"] - again) // r["views"]


def make_plan(r: Mapping[str, Any]) -> Plan:
    """The plan of a recipe of answers.

    Args:
        r: With ``queries`` (images sent, views counted), ``views``, ``rounds``,
            ``accounts`` and ``call_size`` (images of a call, at most); with ``anchors``
            where accounts ask the same images, too, to compare their answers.
    """
    names = ["attacker"]
    if r["accounts"] > 1:
        names = [f"attacker{i + 1}" for i in range(r["accounts"])]
    turn, anchors = cycle(names), r.get("anchors", 0)
    rounds: list[Round] = []
    made = sent = 0
    for images in shares(images_of(r), r["rounds"]):
        end, parts = sent + images * r["views"], []
        if anchors and not rounds:  # each account begins with them
            first = np.arange(anchors * r["views"])
            parts = [(name, part) for name in names for part in _cut(first, r)]
            sent = len(first)
        parts += [(next(turn), part) for part in _cut(np.arange(sent, end), r)]
        calls = [
            Call(name, f"{made + i:07d}", part) for i, (name, part) in enumerate(parts)
        ]
        rounds.append(Round(images, calls))
        made, sent = made + len(calls), end
    return Plan(r["views"], names, rounds, anchors)


def _cut(queries: np.ndarray, r: Mapping[str, Any]) -> list[np.ndarray]:
    starts = range(0, len(queries), r["call_size"])
    return [queries[start : start + r["call_size"]] for start in starts]
