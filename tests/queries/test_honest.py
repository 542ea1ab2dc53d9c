"""What honest users send."""

import numpy as np
import pytest

from sslx.queries.honest import FRAMES, USERS, Shop
from sslx.types import UserError

LABELS = np.repeat(np.arange(6), 50)
GROUPS = np.arange(300)


def sent(user, n=60, seed=0, labels=LABELS, groups=GROUPS, domains=None):
    domains = np.zeros(len(labels), int) if domains is None else domains
    return USERS[user](np.random.default_rng(seed), Shop(labels, groups, domains), n)


@pytest.mark.parametrize("n", [24, 61, 100])
@pytest.mark.parametrize("user", USERS)
def test_what_every_user_sends(user, n):
    # Catches images lost or sent twice unasked, the same image trained on and asked, a
    # class that is only on one side, a draw that does not follow from the seed.
    one, again, other = sent(user, n), sent(user, n), sent(user, n, seed=1)
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one.rows, other.rows)
    assert all(len(part) == n for part in one)
    pairs = list(zip(one.rows, one.views, strict=True))
    assert (len(set(pairs)) == n) == (user != "retries")
    assert not set(one.rows[one.trains]) & set(one.rows[~one.trains])
    for c in np.unique(LABELS[one.rows]):
        own = LABELS[one.rows] == c
        if len(set(one.rows[own])) > 1:
            assert 0 < one.trains[own].sum() < own.sum()


def test_what_makes_each_kind():
    # Catches a domain that is all domains, frames that are no neighbours, a client that
    # retries nothing, folders out of order.
    assert len(set(LABELS[sent("domain").rows])) == 3
    assert len(set(LABELS[sent("domains").rows])) == 6
    video = sent("video")
    assert len(set(video.rows)) == 60 // FRAMES
    assert (np.diff(video.rows) == 0).sum() == 60 - 60 // FRAMES
    assert set(video.views) == set(range(FRAMES))
    assert len(set(sent("retries").rows)) == 30
    assert (np.diff(LABELS[sent("sorted").rows]) >= 0).all()


@pytest.mark.parametrize("same", [2, 3, 5])
@pytest.mark.parametrize("user", USERS)
def test_what_shows_the_same_is_on_one_side(user, same):
    # Catches a user who trains on the digit that he has classified, at another place.
    groups = np.arange(300) // same
    one = sent(user, 100, groups=groups)
    assert not set(groups[one.rows[one.trains]]) & set(groups[one.rows[~one.trains]])
    assert 0.3 < one.trains.mean() < 0.7


def test_a_domain_has_as_many_classes_as_it_takes():
    # Catches a set that is found to be too small when the victim is there.
    labels = np.repeat(np.arange(5), 40)
    one = sent("domain", 100, labels=labels, groups=np.arange(200))
    assert len(one.rows) == 100 and len(set(labels[one.rows])) == 3


def test_a_domain_of_several_is_one_of_them():
    # Catches half of the classes of a mix, a domain that is not the first in turn, one
    # of 100 images for a user of 120.
    domains = np.repeat([0, 1, 2], 100)
    for turn in range(3):
        one = sent("domain", 90, domains=(domains - turn) % 3)
        assert set(domains[one.rows]) == {turn} and len(set(LABELS[one.rows])) == 2
    more = sent("domain", 120, domains=domains)
    assert len(more.rows) == 120 and set(domains[more.rows]) == {0, 1}


@pytest.mark.parametrize("user", ["domains", "sorted", "video", "retries"])
def test_of_several_domains_as_many(user):
    # Catches a large set that drowns the others, classes of one image each: too few to
    # learn or to be asked for.
    sizes = [100, 400, 1000]
    domains = np.repeat([0, 1, 2], sizes)
    labels = np.concatenate(
        [np.arange(100) % 5, 5 + np.arange(400) % 8, 13 + np.arange(1000) % 100]
    )
    one = sent(user, 300, labels=labels, groups=np.arange(1500), domains=domains)
    counts = np.bincount(domains[one.rows], minlength=3) / 300
    assert np.abs(counts - 1 / 3).max() < 0.05
    assert 0.4 < one.trains.mean() < 0.6
    pictures = len(set(one.rows))
    assert len(set(labels[one.rows])) <= max(6, pictures // 10)
    for d in range(3):
        asked = ~one.trains & (domains[one.rows] == d)
        assert 0.1 < asked.mean() < 0.25


@pytest.mark.parametrize("user", USERS)
def test_more_than_there_is(user):
    with pytest.raises(UserError, match="an honest user sends .* his set has"):
        sent(user, 2000)
