"""What an image that is sent again is answered."""

import numpy as np
import pytest

from sslx.service import Counters, Defence, read_answers, read_counters
from tests.service.box import DIM, opened, pictures


@pytest.fixture
def counting(tmp_path):
    """A path, and an opener of services whose victim numbers what it is given."""
    given, services = [0], []

    def embed(images):
        first, given[0] = given[0], given[0] + len(images)
        return np.repeat(np.arange(first, given[0])[:, None], DIM, axis=1)

    def make(repeats):
        services.append(opened(tmp_path / "a.sqlite", embed, repeats=repeats))
        return services[-1]

    yield tmp_path / "a.sqlite", make
    for service in services:
        service.close()


@pytest.mark.parametrize(
    ("repeats", "numbers", "embedded"),
    [
        ("memoised", [[0, 0, 1], [1, 0, 2], [1], [3, 4]], 5),
        ("fresh", [[0, 1, 2], [3, 4, 5], [6], [7, 8]], 9),
    ],
)
def test_an_image_sent_again(counting, repeats, numbers, embedded):
    # A policy that is ignored between calls or within one; a repeated id answered
    # anew; answers of one call or account given for those of another; counters that
    # count answers where they should count images.
    path, make = counting
    service, x = make(repeats), pictures(3)
    calls = [
        ("a", "1", x[[0, 0, 1]]),
        ("a", "2", x[[1, 0, 2]]),
        ("a", None, x[[1]]),
        ("b", "1", x[[0, 1]]),
    ]
    for (account, call, images), wanted in zip(calls, numbers, strict=True):
        assert service.query(account, images, call)[:, 0].tolist() == wanted
    service = make(repeats)
    for i in (1, 0, 3):
        account, call, images = calls[i]
        assert service.query(account, images, call)[:, 0].tolist() == numbers[i]
    bills = Counters(3, 7, 3, 28, None), Counters(2, 2, 1, 8, None)
    assert (service.counters("a"), service.counters("b")) == bills
    assert (read_counters(path, "a"), read_counters(path, "b")) == bills
    stored = read_answers(path, "a", ["2", "1"], x[[1, 0, 2, 0, 0, 1]])
    assert stored[:, 0].tolist() == numbers[1] + numbers[0]
    (new,) = service.query("a", pictures(1, seed=1), "3")[:, 0]
    assert new == embedded


def test_fresh_noise_differs_for_each_row(tmp_path):
    # One key for all calls, or one draw for all rows of an image: asking again would
    # give nothing new.
    def apply(state, request):
        draws = [np.random.default_rng(key).normal(size=DIM) for key in request.keys]
        return np.stack(draws), state, None, {}

    noise = Defence(lambda dim, key: {}, apply, wants={"secret"})
    kw = {"defence": noise, "secret": bytes(16), "repeats": "fresh"}
    service = opened(tmp_path / "a", **kw)
    x = pictures(1)[[0, 0]]
    rows = np.concatenate([service.query("a", x, str(i)) for i in (0, 1, 0)])
    service.close()
    assert len(np.unique(rows, axis=0)) == 4
    np.testing.assert_array_equal(rows[:2], rows[4:])
