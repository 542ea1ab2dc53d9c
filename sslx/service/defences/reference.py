"""Perturbations with the published numbers of the study and of RDA, to compare only.

All numbers are absolute, so that what a strength means hangs on the scale of the
answers: none keeps the law of scaling. The released code draws anew in every epoch, so
that a thief of 100 epochs has the mean; a service that memoises repeats does not.

Sources: Dziedzic et al. 2022 ("On the Difficulty of Defending Self-Supervised Learning
against Model Extraction"), ``simclr.py``; Wu et al. 2024 ("Refine, Discriminate and
Align", RDA), ``noise_defense.py``, ``Rounding_defense.py``, ``top-k.py``.
"""

from collections.abc import Callable, Set

import numpy as np
from jaxtyping import Float64

from sslx.service.defences.defence import Defence, Request, State
from sslx.service.defences.noise import normal_of
from sslx.service.defences.numbers import narrower

MU, SIGMA = 5.0, 0.5  # of the study's noise
FAR, ALIKE = 1000.0, 0.8  # of its replacement: mean, and (cosine + 1) / 2 from which
SD, DECIMALS, K = 0.5, 1, 5  # of RDA


def noise_reference() -> Defence:
    """The study's noise, N(5, 0.5) on every number.

    Defects: the 5 is gone with the mean of a batch of answers; 0.5 is little or much as
    the answers' scale will have it.
    """

    def change(raw, request):
        return raw + MU + SIGMA * normal_of(request.keys, raw.shape[1])

    return _stateless(change, wants={"secret"})


def near_duplicates_reference() -> Defence:
    """The study's replacement: N(1000, 0.5) where (cosine + 1) / 2 passes 0.8.

    Defects: an answer is compared with earlier ones of its call alone, so that one
    image a call is never found ("order" and "cutting" are broken, too); a mean of 1000
    tells the thief which answers to drop; cosines of features that are never negative
    are high for all, and honest images are replaced. The study compares outputs of the
    projection head and replaces representations; a service has one of them only.
    """

    def apply(state: State, request: Request):
        assert request.keys is not None
        units = _unit(request.raw)
        alike = np.tril(units @ units.T, -1) + np.triu(np.full((len(units),) * 2, -1.0))
        replaced = (alike.max(axis=1) + 1) / 2 > ALIKE
        drawn = FAR + SIGMA * normal_of(request.keys, units.shape[1])
        answers = np.where(replaced[:, None], drawn, request.raw)
        return answers, state, None, {"replaced": replaced.astype(float)}

    exempt = frozenset({"order", "cutting", "scaling"})
    return Defence(
        lambda dim, key: {}, apply, wants={"secret"}, exempt=exempt, units=False
    )


def noise_reference_rda() -> Defence:
    """RDA's noise, N(0, 0.5) on answers of length 1.

    Defects: of 512 numbers that is a noise of length 11 on an answer of length 1; RDA
    itself has the mean over ten views of an image.
    """

    def change(raw, request):
        return _unit(raw) + SD * normal_of(request.keys, raw.shape[1])

    return _stateless(change, wants={"secret"})


def round_reference() -> Defence:
    """RDA's rounding, to one decimal of answers of length 1.

    Defect: of 512 numbers a typical one is 0.04, so that most become 0: it is a top-k
    of few numbers.
    """
    return _stateless(lambda raw, request: np.round(_unit(raw), DECIMALS))


def top_k_reference() -> Defence:
    """RDA's top-k: of answers of length 1 the 5 largest numbers, 0 for the others.

    Defects: the largest, not the farthest from 0, so that of features with signs no
    negative one is seen; 5 of whatever width; as released it stops with an error where
    an image has one view.
    """

    def change(raw, request):
        unit = _unit(raw)
        kept = np.argsort(-unit, axis=1, kind="stable")[:, :K]
        answers = np.zeros_like(unit)
        np.put_along_axis(answers, kept, np.take_along_axis(unit, kept, 1), axis=1)
        return answers

    def out_dim(dim: int) -> int:
        narrower("top_k_reference", "k", K, dim)
        return dim

    return _stateless(change)._replace(out_dim=out_dim)


def _unit(raw: np.ndarray) -> Float64[np.ndarray, "n d"]:
    """Rows of length 1; as in both codes, what is 0 stays 0."""
    rows = raw.astype(np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _stateless(
    change: Callable[[np.ndarray, Request], np.ndarray], wants: Set[str] = frozenset()
) -> Defence:
    """A defence by ``(raw, request) -> answers``, of other units than the victim's."""

    def apply(state: State, request: Request):
        return change(request.raw, request), state, None, {}

    return Defence(
        lambda dim, key: {},
        apply,
        wants=wants,
        exempt=frozenset({"scaling"}),
        units=False,
    )
