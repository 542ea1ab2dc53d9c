"""What is tried of a defence of one's own before a victim is asked."""

import numpy as np
import pytest

from sslx.service import LAWS, Defence
from sslx.service.trial import try_defence
from sslx.types import UserError


def of(change, **kw):
    """A defence by ``(state, request) -> answers``; the state counts what was given."""

    def apply(state, request):
        answers = change(state["given"], request)
        return answers, {"given": state["given"] + len(answers)}, None, {}

    return Defence(lambda dim, key: {"given": np.zeros((), np.int64)}, apply, **kw)


def drawn(given, request):
    keys = [np.random.default_rng(key).normal(size=4) for key in request.keys]
    return request.raw + np.stack(keys) * request.calibration.deviation


def fails(given, request):
    raise ZeroDivisionError("by\nnothing")


BROKEN = {
    "statistics of the batch": (lambda n, r: r.raw - r.raw.mean(0), "cutting"),
    "noise as wide as the batch": (lambda n, r: r.raw + r.raw.std(), "cutting"),
    "the place": (lambda n, r: r.raw + np.arange(len(r.raw))[:, None], "order"),
    "the first of the call": (lambda n, r: r.raw + r.raw[:1], "order"),
    "what was given before": (lambda n, r: r.raw + n, "cutting"),
    "the size of the call": (lambda n, r: r.raw * len(r.raw), "cutting"),
    "chance": (lambda n, r: r.raw + np.random.normal(size=r.raw.shape), "killed"),
    "a seed of its own": (
        lambda n, r: r.raw + np.random.default_rng(0).normal(size=r.raw.shape),
        "order",
    ),
    "a fixed size": (lambda n, r: np.round(r.raw, 1), "scaling"),
    "size of the calibration": (lambda n, r: r.raw + r.calibration.mean**2, "scaling"),
}
LINE = {
    "accounts": "another account does.* state and rows",
    "scaling": "times c give.* in request.calibration.deviation",
    "killed": "killed and is made again",
    "order": "in another order",
    "cutting": "cut into several",
}


def tried(defence, output="representation"):
    try_defence(defence, "mine:D", 4, (8, 8, 3), output)


@pytest.mark.parametrize("what", BROKEN)
def test_broken_laws(what):
    # Catches a defence whose answers go by the call: the check of its names passes it.
    change, law = BROKEN[what]
    with pytest.raises(UserError, match=f"mine:D breaks a law.*{LINE[law]}") as error:
        tried(of(change, wants={"calibration"}))
    assert "\n" not in str(error.value)
    tried(of(change, exempt={*LAWS}, wants={"calibration"}))


def test_a_neighbour_is_seen():
    # Catches a defence that remembers who asked before, outside of its state.
    last = [None]

    def apply(state, request):
        key = state["key"].tobytes()
        other, last[0] = last[0] not in (None, key), key
        return request.raw * (1 + other), state, None, {}

    defence = Defence(lambda dim, key: {"key": key}, apply, wants={"secret"})
    with pytest.raises(UserError, match=LINE["accounts"]) as error:
        tried(defence)
    assert str(error.value).endswith("exempt={'accounts'}")


def test_kept_laws():
    # Catches honest defences refused, rounding taken for a broken law, answers that are
    # of no probabilities or labels.
    tried(of(drawn, wants={"secret", "calibration"}))
    tried(of(lambda n, r: r.raw * np.float32(1 + 1e-6 * len(r.raw))))
    rounded = lambda n, r: np.round(r.raw, 1)  # noqa: E731
    tried(of(rounded, out_dim=lambda dim: dim, exempt={"scaling"}))
    for output in ("probabilities", "label"):  # which have a size of their own
        tried(of(rounded), output)
    tried(Defence(lambda dim, key: {}, lambda s, r: (r.raw, s, None, {})), "label")

    def sums(n, request):
        assert np.allclose(request.raw.sum(1), 1)
        return request.raw

    tried(of(sums), "probabilities")


def test_what_does_not_run():
    # Catches a traceback, and a form that is found only when a victim was asked.
    for change, expected in (
        (fails, "service.defence: mine:D failed: ZeroDivisionError: by nothing"),
        (lambda n, r: r.raw[:, :2], "instead of"),
        (lambda n, r: r.raw * np.nan, "not finite"),
    ):
        with pytest.raises(UserError, match=expected) as error:
            tried(of(change))
        assert "\n" not in str(error.value)
