"""The contract of a defence: what is done to answers before they are given away.

For the images of a call that are not answered from the store, in the order sent:

    bits = demand(state, n)                   its price, before anything is computed
    raw = victim(before(state, images))       what the victim is shown
    answers, state, rows, notes = apply(state, request)

and answers, state, rows and notes are written in one transaction, or none of them.
An entry of the table is a function of its numbers that makes one. Noise that grows with
what the account has asked is a whole defence:

    def growing(*, sd):
        def init(dim, key):
            return {"given": np.zeros((), np.int64)}

        def apply(state, request):
            given = state["given"] + np.arange(len(request.raw))
            scale = sd * np.sqrt(given)
            z = np.stack([np.random.default_rng(key).normal(size=request.raw.shape[1])
                          for key in request.keys])
            noise = scale[:, None] * request.calibration.deviation * z
            state = {"given": state["given"] + len(given)}
            return request.raw + noise, state, None, {"noise": scale}

        wants = {"secret", "calibration"}
        return Defence(init, apply, wants=wants, exempt={"order"})

What it has to keep is in ``LAWS``. ``tests/service/test_defences.py`` holds every entry
of the table to them.
"""

from collections.abc import Callable, Collection, Iterable, Sequence, Set
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8, UInt32

from sslx.types import UserError, refuse_if

State = dict[str, np.ndarray]
# (score, images) -> float32 (n, h, w, c): how the score of each image's answer changes
# with its pixels; score is a JAX function of one of the victim's answers, (d,).
Gradient = Callable[[Callable, np.ndarray], np.ndarray]

# What a service may be given, and how to say that it was not.
WANTS = {
    "secret": "a secret of the service",
    "calibration": "what the victim answers to a calibration set",
    "gradient": "a victim whose gradient is known",
}

# What each defence keeps where repeats are memoised; it may be exempt from some.
LAWS = {
    "order": "images sent in another order get the answers and notes they got",
    "cutting": "a call cut into several gets the same answers, notes, rows and state",
    "accounts": "what another account does changes nothing",
    "killed": "a call that was killed and is made again gets the same answers",
    "scaling": "victim and calibration times c give answers times c",
}


STILL = 1e-6  # some eight steps of a float32


class Calibration(NamedTuple):
    """What the provider measured once, on images that nobody is judged by.

    Attributes:
        answers: float32 (n, d), the victim's.
        mean: (d,), of each number of an answer.
        deviation: (d,), its standard deviation; 0 of a number that is always the same,
            and of one that moves by less than ``STILL`` of its mean, which is rounding.
    """

    answers: Float32[np.ndarray, "n d"]
    mean: Float32[np.ndarray, " d"]
    deviation: Float32[np.ndarray, " d"]


def calibrate(answers: Float[np.ndarray, "n d"]) -> Calibration:
    """Measures the victim's answers to a calibration set.

    Raises:
        UserError: There are fewer than two, or numbers that are not finite.
    """
    refuse_if(
        len(answers) < 2 or not np.isfinite(answers).all(),
        "a calibration needs two answers or more, all finite",
    )
    answers = answers.astype(np.float32)
    # In float32 the mean of equal numbers is not that number, and they deviate from it.
    rows = answers.astype(np.float64)
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    deviation = np.where(deviation < STILL * np.abs(mean), 0, deviation)
    return Calibration(answers, mean.astype(np.float32), deviation.astype(np.float32))


class Request(NamedTuple):
    """What is to be answered: those images of a call that no stored answer has.

    Attributes:
        images: uint8 (n, h, w, c) in 0..255, in the order sent.
        hashes: Of their content, 32 bytes each.
        raw: float32 (n, d), finite: the victim's answers.
        keys: uint32 (n, 8), one for each image, to draw from
            (``np.random.default_rng(key)``, ``jax.random.wrap_key_data(key[:2])``).
            Made of the secret, the account and the image's content, so that neither its
            place nor its company matters; where repeats are fresh, of call and place
            too. None unless the defence wants "secret".
        calibration: Of the victim's answers; None unless it is wanted.
        past: ``buckets -> rows`` that the account's earlier calls have appended, each
            int64 (k,), bucket after bucket, in the order appended. It takes as long as
            it finds rows; those of other buckets cost nothing.
    """

    images: UInt8[np.ndarray, "n h w c"]
    hashes: Sequence[bytes]
    raw: Float32[np.ndarray, "n d"]
    keys: UInt32[np.ndarray, "n 8"] | None
    calibration: Calibration | None
    past: Callable[[Iterable[int | np.integer]], list[np.ndarray]]


class Defence(NamedTuple):
    """Pure functions on an account's state and what it is to be answered.

    Nothing is kept between two calls but state and rows, which the ledger has.

    Attributes:
        init: ``(dim, key) -> state`` of an account that has not asked yet: a dict of
            numpy arrays, empty for a defence that remembers nothing. dim is the width
            of the victim's answers; key is uint32 (8,), the account's own, or None as
            in ``Request``.
        apply: ``(state, request) -> (answers, state, rows, notes)``. Answers are
            (n, out_dim), finite, and stored as float32. The state keeps its names,
            shapes and types: it is written anew in each call. What grows is appended in
            rows: int64 (r, k) or None, found again by the bucket that stands in the
            first column. Notes are numbers about each image, name -> (n,), for
            ``read_notes``: noise used, coverage.
        out_dim: ``dim -> width`` of the answers. Raises a UserError where its numbers
            do not fit answers of that width.
        before: ``(state, images) -> images`` that the victim is shown in place of those
            sent, of the same shape and type. A defence that wants "gradient" gets the
            victim's as a third argument.
        demand: ``(state, n) -> bits``: for n new images their sender is to prove 2^bits
            hashes of work, expected; 0 for none. The service notes each image's share
            as "hashes".
        wants: Names in ``WANTS``: without them the service is not opened.
        exempt: Names in ``LAWS`` of laws that it breaks; its docstring says why.
        units: Whether its answers have the columns that it was given, in the same
            units, so that what stands behind it may use their calibration.
        called: Its names and numbers, for which a service's file is made;
            ``make_defence`` knows them.
    """

    init: Callable[[int, np.ndarray | None], State]
    apply: Callable[
        [State, Request],
        tuple[np.ndarray, State, np.ndarray | None, dict[str, np.ndarray]],
    ]
    out_dim: Callable[[int], int] = lambda dim: dim
    before: Callable[..., np.ndarray] = lambda state, images: images
    demand: Callable[[State, int], float] = lambda state, n: 0
    wants: Set[str] = frozenset()
    exempt: Set[str] = frozenset()
    units: bool = True
    called: str = ""


def check_defence(defence: Defence, given: Collection[str]) -> None:
    """Checks that a defence names what there is, and has what it wants.

    Args:
        defence: The defence.
        given: Names in ``WANTS`` of what the service has.

    Raises:
        UserError: A name is unknown, or something is missing.
    """
    for names, known, what in (
        (defence.wants, WANTS, "wants"),
        (defence.exempt, LAWS, "is exempt from"),
    ):
        if unknown := sorted(set(names) - set(known)):
            raise UserError(
                f"the defence {what} {unknown[0]!r}; known: {', '.join(known)}"
            )
    for name in sorted(set(defence.wants) - set(given)):
        raise UserError(f"the defence wants {WANTS[name]}, and there is none")
