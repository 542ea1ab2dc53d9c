"""Proof of work: who learns more than honest users do pays more for each image."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from sslx.registry import traits
from sslx.rng import host_stream
from sslx.service.defences.defence import Calibration, Defence, Request, State
from sslx.service.defences.units import MOST
from sslx.types import refuse_if

USERS = 32  # honest ones that are drawn from the calibration set
STEPS = 8  # points of the honest line from a number of images to its double
POINTS = 32 * STEPS + 1
# Deviations of the noise: up to so many log det is right to 8 digits, in whatever order
# of answers; of 1e6 and more the inverse forgets all else that was learnt.
FAR = 1e4
KEY = "service.defence_kw.proof_of_work"


@traits(at_most_1=("quantile",))
def proof_of_work(
    *,
    sd: float,
    quantile: float,
    floor: float,
    doubling: float,
    most: float,
    call_size: int,
) -> Defence:
    """Asks for hashes: 2^floor an image, and more from who is above the honest line.

    What an account has learnt is log det(I + Z'Z / sd^2) of the answers Z it has, each
    number less the calibration's mean and in its deviations. An image adds
    log(1 + z'Az / sd^2), A being the inverse, which is all that is kept. Numbers
    farther away than 10,000 sd count as 10,000: so far the inverse is right to many
    digits, and a column that hardly moved on the calibration may bring any.

    It says more of the answers than a count of buckets would: it needs no random
    planes, does not end when all buckets are full, and has an exact formula to be held
    to. It takes d^2 steps an image however many went before, and 8 d^2 bytes are
    written a call (2 MB for d = 512).

    The honest line is the quantile of what users learn who ask images of the
    calibration set. The price is of the account's state before the call and the number
    of new images, so that it can be paid before anything is computed. Hence two
    exemptions: a call that is cut into several is priced anew for each part
    ("cutting"), and images sent later are dearer than the same sent earlier ("order").
    Answers do not change. A call of more than ``call_size`` new images is refused, as
    it would be had at the price of its beginning.

    An attacker whose images are like an honest user's pays what that one pays; so does
    one who spreads over accounts what he asks, but for the floor.

    Args:
        sd: Deviation of the noise that an answer is measured against, in the features',
            0.001 to 1000.
        quantile: Share of honest users below the line, below 1.
        floor: Bits an image costs at least.
        doubling: Share of the line by which an account's total passes it for the price
            to double, 10 at most.
        most: Bits an image costs at most, 1 above the floor or more.
        call_size: New images of a call, at most.

    Raises:
        UserError: Numbers that leave nothing to choose; from ``demand``, a large call.
    """
    _check(sd, quantile, floor, doubling, most, call_size)
    known: list[tuple[Any, np.ndarray]] = []  # the line of the calibration seen last

    def line(calibration: Calibration) -> np.ndarray:
        if not known or known[0][0] is not calibration.answers:
            found = honest_line(calibration, sd=sd, quantile=quantile)
            known[:] = [(calibration.answers, found)]
        return known[0][1]

    def init(dim: int, key: np.ndarray | None) -> State:
        return {
            "inverse": np.eye(dim),
            "learnt": np.zeros(()),
            "images": np.zeros((), np.int64),
            "line": np.zeros(POINTS),  # measured when the first answers are given
        }

    def apply(state: State, request: Request):
        assert request.calibration is not None  # it is wanted
        z = standard(request.raw, request.calibration, sd)
        inverse, gains = learn(state["inverse"], z)
        learnt = state["learnt"]
        for gain in gains:  # one by one, as a call that is cut adds them
            learnt = learnt + gain
        state = {
            "inverse": inverse,
            "learnt": np.asarray(learnt),
            "images": state["images"] + len(z),
            "line": line(request.calibration),
        }
        return request.raw, state, None, {"learnt": gains}

    def demand(state: State, n: int) -> float:
        refuse_if(
            n > call_size,
            f"a call asks {n} new images, and {KEY}.call_size lets {call_size} be "
            "asked at once; send smaller calls",
        )
        bits = floor
        if state["images"]:
            share = float(state["learnt"]) / at(state["line"], int(state["images"])) - 1
            bits = min(most, floor + max(0, share) / doubling)
        return bits + math.log2(n)

    return Defence(
        *(init, apply),
        demand=demand,
        wants=frozenset({"calibration"}),
        exempt=frozenset({"cutting", "order"}),
    )


def _check(
    sd: float,
    quantile: float,
    floor: float,
    doubling: float,
    most: float,
    call_size: int,
) -> None:
    """Raises a UserError where numbers leave nothing to choose."""
    refuse_if(
        not 1e-3 <= sd <= MOST,
        f"{KEY}.sd must lie between 0.001 and {MOST:g}, not {sd}: of less noise every "
        "answer is far, of more none says anything",
    )
    refuse_if(quantile >= 1, f"{KEY}.quantile must lie below 1, not {quantile}")
    refuse_if(
        not floor + 1 <= most <= 64,
        f"{KEY}.most must lie 1 above floor ({floor}) or more and be 64 at most, not "
        f"{most}: the price could not double",
    )
    refuse_if(
        not doubling <= 10,
        f"{KEY}.doubling is a share of the honest line, 10 at most, not {doubling}: "
        "nobody passes it so far, and the price would not rise",
    )
    refuse_if(
        type(call_size) is not int,
        f"{KEY}.call_size must be a whole number, not {call_size}",
    )


def standard(
    answers: Float[np.ndarray, "n d"], calibration: Calibration, sd: float
) -> Float[np.ndarray, "n d"]:
    """Answers less the calibration's mean, in sd of its deviations, ``FAR`` at most.

    0 where it has none.
    """
    mean, deviation = (np.float64(x) for x in calibration[1:])
    z = np.divide(
        answers - mean, deviation, out=np.zeros(answers.shape), where=deviation > 0
    )
    return np.clip(z / sd, -FAR, FAR)


def learn(
    inverse: Float[np.ndarray, "d d"], z: Float[np.ndarray, "n d"]
) -> tuple[Float[np.ndarray, "d d"], Float[np.ndarray, " n"]]:
    """What each answer adds to log det(I + Z'Z), in turn, and the inverse after all.

    Args:
        inverse: Of I + Z'Z of the answers before; I where there are none.
        z: The answers, no number farther from 0 than ``FAR``.
    """
    gains = np.empty(len(z))
    for i, row in enumerate(z):
        seen = inverse @ row
        more = 1 + max(row @ seen, 0)  # what is known adds 0, but for rounding
        inverse = inverse - np.outer(seen, seen / more)
        gains[i] = np.log(more)
    return inverse, gains


def honest_line(
    calibration: Calibration, *, sd: float, quantile: float
) -> Float[np.ndarray, " points"]:
    """What honest users have learnt after n images: a quantile of them.

    For n = 1, 2, 4, ... up to half of the m calibration images ``USERS`` subsets are
    drawn. Their mean falls short of log det(I + n C / sd^2), C the set's covariance, by
    about 1/n - 1/m, which carries it on to any n. Their spread goes as 1/n - 1/m, too,
    being drawn from one set; that of other users beside this set goes as 1/n + 1/m.

    Returns:
        For n = 2^(i / STEPS).
    """
    z = standard(calibration.answers, calibration, sd)
    m, d = z.shape
    spectrum = np.linalg.eigvalsh(z.T @ z if d < m else z @ z.T).clip(0) / m
    random, drawn = host_stream(0, "honest line"), 2 ** np.arange((m // 2).bit_length())
    short, spread = [], []
    for n in drawn:
        users = [_whole(z[random.permutation(m)[:n]]) for _ in range(USERS)]
        other = 1 / n - 1 / m
        short.append((np.log1p(n * spectrum).sum() - np.mean(users)) / other)
        spread.append((np.quantile(users, quantile) - np.mean(users)) / other**0.5)
    places = np.arange(POINTS) / STEPS
    n = 2**places
    less, more = (np.interp(places, np.log2(drawn), x) for x in (short, spread))
    line = np.log1p(np.outer(n, spectrum)).sum(axis=1)
    line += more * (1 / n + 1 / m) ** 0.5 - less * (1 / n - 1 / m)
    return np.maximum.accumulate(line).clip(1e-12)


def at(line: Float[np.ndarray, " points"], n: int) -> float:
    """The line after n images, 1 or more: a power of n between two of its points."""
    place = STEPS * np.log2(n)
    return float(np.exp(np.interp(place, np.arange(POINTS), np.log(line))))


def _whole(z: np.ndarray) -> float:
    n, d = z.shape
    gram = z @ z.T if n < d else z.T @ z
    return float(np.linalg.slogdet(np.eye(len(gram)) + gram)[1])
