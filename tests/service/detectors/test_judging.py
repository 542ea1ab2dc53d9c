"""What is said of accounts, and of kinds of users."""

import numpy as np
import pytest

from sslx.service.detectors import Rates, Verdict, judge, rates, summarise
from sslx.service.detectors.detector import Fitted, Scores
from sslx.types import UserError
from tests.service.detectors.people import stream


def fitted(threshold=1.0, least=2):
    """The score is the feature itself, from the second query of a part on."""

    def score(streams):
        return [
            Scores(
                np.arange(least, len(s.times) + 1),
                s.features[least - 1 :, 0].astype(np.float64),
            )
            for s in streams
        ]

    return Fitted(score, threshold, 9)


def asked(account, *values):
    return stream(account, np.array(values, np.float32)[:, None])


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([9, 0, 0, 0], Verdict(None, 0.0, 1.0, 2, 0)),  # the first has no score
        ([0, 1, 0, 0], Verdict(None, 1.0, 1.0, 2, 0)),  # not above
        ([0, 2, 0, 0], Verdict(2, 2.0, 1.0, 2, 1)),
        ([0, 0, 0, 0, 3, 2], Verdict(5, 3.0, 1.0, 2, 1)),  # in the second part
        ([0, 0, 2, 0, 0, 4], Verdict(3, 4.0, 1.0, 2, 2)),
        ([5], Verdict(None, None, 1.0, 1, 0)),  # too short
    ],
)
def test_verdicts(values, verdict):
    # Catches an alarm counted from its part, a part that is not watched, a threshold
    # that is reached and not passed.
    found = judge(fitted(), [asked("b", 0, 0), asked("a", *values)], length=3)
    if len(values) == 1:
        verdict = verdict._replace(streams=1)
    assert list(found) == ["b", "a"] and found["a"] == verdict


def test_rates_of_kinds():
    # Catches a median over those alone that are detected, rates over accounts where
    # streams are meant, kinds that are mixed.
    kinds = {
        "many domains": [asked(f"m{i}", 0, 0, 0, 0) for i in range(9)]
        + [asked("m9", 0, 2, 0, 0)],
        "video": [asked("v", *[0] * 12)],
        "thief": [
            asked("t0", 0, 2),
            asked("t1", 0, 0, 0, 0, 0, 2),
            asked("t2", 0, 0, 2),
            asked("t3", 0, 0),
        ],
    }
    found = rates(fitted(), kinds, length=4)
    assert list(found) == [*kinds]
    many, video, thief = found.values()
    assert many[:4] == (10, 1, 10, 0.1) and many[6:] == (None, None)
    assert many.low == pytest.approx(0.0179, abs=1e-4)
    assert many.high == pytest.approx(0.4042, abs=1e-4)
    assert video[:5] == (1, 0, 3, 0.0, 0.0) and 0.5 < video.high < 0.6
    assert thief[:4] == (4, 3, 5, 0.6) and thief[6:] == (3, None)


@pytest.mark.parametrize(
    ("alarms", "median", "most"),
    [
        ([5], 5, 5),
        ([None], None, None),
        ([7, 3], 3, 7),
        ([10, None, 20], 20, None),
        ([*range(1, 11)], 5, 9),
        ([*range(1, 10), None], 5, 9),
        ([*range(1, 9), None, None], 5, None),
    ],
)
def test_queries_until_detection(alarms, median, most):
    # Catches who is never detected counted as soon detected.
    found = summarise([Verdict(a, 2.0, 1.0, 1, a is not None) for a in alarms])
    assert isinstance(found, Rates) and (found.median, found.most) == (median, most)


def test_kinds_that_cannot_be_told_apart():
    # Catches an account counted twice, and a division by no accounts.
    for kinds, says in (
        ({"a": [asked("x", 1)], "b": []}, "no account of the kind 'b'"),
        ({"a": [asked("x", 1)], "b": [asked("x", 1)]}, "'x' is of the kind 'b' and of"),
        ({"a": []}, "no account of the kind 'a'"),
    ):
        with pytest.raises(UserError, match=says):
            rates(fitted(), kinds, length=2)
