"""What makes the answers of two accounts unlike: a transform of each account's own.

Each follows from the account's key, and keeps what an honest user needs, who trains on
what he alone is given. None is a secret from a thief who pays for the same images
twice: ``sslx/attacks/maps.py`` has the maps from one account to another.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, UInt32

from sslx.service.defences.buckets import TRANSFORM, each_by_itself, stream_of
from sslx.service.defences.defence import Calibration
from sslx.service.defences.kept import kept
from sslx.service.defences.units import normal

Rows = Float64[np.ndarray, "n d"]
Randoms = Sequence[np.random.Generator]


class Transform(NamedTuple):
    """Pure functions of what an account's key has drawn.

    Attributes:
        draw: ``(random, dim) -> arrays``, once for each account.
        carry: ``(drawn, rows, calibration, randoms) -> answers`` (n, out); randoms are
            the images' own generators, for those that add something to each image.
        deviation: ``(drawn, deviation) -> (out,)``, of the columns of an answer, given
            that of the victim's: exact where a column is one of the victim's, else what
            it is expected to be.
        out_dim: ``dim -> out``.
        units: Whether the columns are the victim's own.
    """

    draw: Callable[[np.random.Generator, int], tuple[np.ndarray, ...]]
    carry: Callable[[tuple, Rows, Calibration, Randoms], np.ndarray]
    deviation: Callable[[tuple, np.ndarray], np.ndarray]
    out_dim: Callable[[int], int] = lambda dim: dim
    units: bool = False


@kept
def drawn_for(name: str, key: bytes, dim: int) -> tuple[np.ndarray, ...]:
    """What an account's key draws for a transform: uint32 (8,) as bytes."""
    return TRANSFORMS[name].draw(
        stream_of(np.frombuffer(key, np.uint32), TRANSFORM), dim
    )


def _size(deviation: np.ndarray) -> np.floating:
    """Of a column that mixes all of them, by weights whose squares sum to 1."""
    return np.sqrt(np.mean(deviation.astype(np.float64) ** 2))


def _draw_diagonal(random, dim):
    """Factors of 1/2 to 2 with a sign, and shifts of about a deviation.

    B4B's are uniform from -1 to 1: a column times 0.001 is lost to a honest user's
    probe, and hides nothing.
    """
    factors = 2 ** random.uniform(-1, 1, dim) * random.choice([-1, 1], dim)
    return factors, random.normal(size=dim)


def _diagonal(drawn, rows, calibration, randoms):
    factors, shift = drawn
    return rows * factors + shift * calibration.deviation


def _draw_dense(random, dim):
    return (
        random.uniform(-1, 1, (dim, dim)) * np.sqrt(3 / dim),
        random.normal(size=dim),
    )


def _dense(drawn, rows, calibration, randoms):
    matrix, shift = drawn
    return each_by_itself(rows, matrix) + shift * _size(calibration.deviation)


def _draw_orthogonal(random, dim):
    """Uniform over all rotations with or without a mirror (Mezzadri 2007)."""
    q, r = np.linalg.qr(random.normal(size=(dim, dim)))
    return (q * np.sign(np.diag(r)),)


def _pad_shuffle(drawn, rows, calibration, randoms):
    """As many columns again, of numbers that calibration images have there.

    Each is of another image, by the key of the one that is answered: a column by itself
    looks like any other. B4B's pads are constants.
    """
    (order,) = drawn
    answers, columns = calibration.answers, np.arange(rows.shape[1])
    pads = [
        answers[random.integers(len(answers), size=len(columns)), columns]
        for random in randoms
    ]
    return np.concatenate([rows, np.stack(pads)], axis=1)[:, order]


def _draw_bits(random, dim):
    """Two bits a column: on which side of a line in the plane of it and another."""
    one = np.tile(np.arange(dim), 2)
    other = (one + random.integers(1, dim, 2 * dim)) % dim
    angle = random.uniform(0, 2 * np.pi, 2 * dim)
    return one, other, np.cos(angle), np.sin(angle), random.random(2 * dim)


def _bits(drawn, rows, calibration, randoms):
    """Each line goes through what a calibration image has in the two columns."""
    one, other, cos, sin, which = drawn
    point = calibration.answers[(which * len(calibration.answers)).astype(int)]
    each = np.arange(len(one))
    # Multiplied where one would divide: a column may have no deviation.
    right = (rows[:, one] - point[each, one]) * cos * calibration.deviation[other]
    left = (rows[:, other] - point[each, other]) * sin * calibration.deviation[one]
    return (right + left > 0).astype(np.float64)


TRANSFORMS = {
    "none": Transform(
        draw=lambda random, dim: (),
        carry=lambda drawn, rows, calibration, randoms: rows,
        deviation=lambda drawn, deviation: deviation,
        units=True,
    ),
    "diagonal": Transform(
        _draw_diagonal,
        _diagonal,
        deviation=lambda drawn, deviation: np.abs(drawn[0]) * deviation,
    ),
    "dense": Transform(
        _draw_dense,
        _dense,
        deviation=lambda drawn, deviation: np.full(len(deviation), _size(deviation)),
    ),
    "orthogonal": Transform(
        _draw_orthogonal,
        carry=lambda drawn, rows, *rest: each_by_itself(rows, *drawn),
        deviation=lambda drawn, deviation: np.full(len(deviation), _size(deviation)),
    ),
    "pad_shuffle": Transform(
        draw=lambda random, dim: (random.permutation(2 * dim),),
        carry=_pad_shuffle,
        deviation=lambda drawn, deviation: np.tile(deviation, 2)[drawn[0]],
        out_dim=lambda dim: 2 * dim,
    ),
    "bits": Transform(
        _draw_bits,
        _bits,
        deviation=lambda drawn, deviation: np.zeros(2 * len(deviation)),
        out_dim=lambda dim: 2 * dim,
    ),
}


def transformed(
    name: str,
    key: UInt32[np.ndarray, " 8"],
    rows: Rows,
    sd: Float[np.ndarray, " n"],
    calibration: Calibration,
    keys: UInt32[np.ndarray, "n 8"],
) -> Float64[np.ndarray, "n out"]:
    """Answers carried by an account's transform, with noise.

    Noise is added to all columns behind the transform, so that none is told from
    others by having none. Bits have no room for it: there it comes before.

    Args:
        name: In ``TRANSFORMS``.
        key: The account's.
        rows: The victim's answers.
        sd: Noise of each answer, in deviations of each column.
        calibration: Of the victim's answers.
        keys: Of the images; each draws what its pads are and then its noise.
    """
    transform, dim = TRANSFORMS[name], rows.shape[1]
    drawn = drawn_for(name, key.tobytes(), dim)
    randoms = [np.random.default_rng(each) for each in keys]
    before = name == "bits"
    answers = rows if before else transform.carry(drawn, rows, calibration, randoms)
    scale = (
        calibration.deviation
        if before
        else transform.deviation(drawn, calibration.deviation)
    )
    answers = answers + sd[:, None] * scale * normal(randoms, answers.shape[1])
    return transform.carry(drawn, answers, calibration, randoms) if before else answers
