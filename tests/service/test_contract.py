"""What a defence is given by the service, what it gives, and what is kept of it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from sslx.service import (
    DEFENCES,
    Counters,
    Defence,
    calibrate,
    read_counters,
    read_notes,
)
from sslx.service.ledger import image_hash
from sslx.types import UserError
from tests.service.box import KEYS, SERVICES, everything, opened, pictures
from tests.service.defended import POOL, SECRET, TOY, embedded, ready

# ---- what a defence is given


def test_a_key_is_of_secret_account_and_content(tmp_path):
    # Noise that another place, company or call changes, that two accounts can subtract,
    # or that whoever reads this code can draw.
    def keys(name, calls, secret=SECRET):
        seen = []

        def apply(state, request):
            seen.extend(request.keys.tolist())
            assert request.hashes == [*map(image_hash, request.images)]
            return request.raw, state, None, {}

        def init(dim, key):
            seen.append(key.tolist())
            return {}

        spy = Defence(init, apply, wants={"secret"})
        service = ready(tmp_path / name, spy, secret=secret)
        for account, rows in calls:
            service.query(account, POOL[rows])
        service.close()
        return seen

    own, *whole = keys("whole", [("a", [0, 1, 2])])
    assert keys("cut", [("a", [2]), ("a", [1, 0])]) == [
        own,
        whole[2],
        own,
        *whole[1::-1],
    ]
    other = keys("other", [("b", [0, 1, 2])])
    secret = keys("secret", [("a", [0, 1, 2])], bytes(32))
    everyone = [own, *whole, *other, *secret]
    assert len({str(key) for key in everyone}) == 12
    assert {len(key) for key in everyone} == {8}


def test_only_what_is_wanted_is_given(tmp_path):
    # A secret that binds a file whose defence draws nothing, or is given to anyone.
    def apply(state, request):
        assert request.keys is None and request.calibration is None
        return request.raw, state, None, {}

    path = tmp_path / "a"
    for secret in (SECRET, None, bytes(32)):
        service = ready(path, Defence(lambda dim, key: {}, apply), secret=secret)
        service.query("a", POOL)
        service.close()


def test_the_gradient_is_given_to_who_wants_it(tmp_path):
    # A defence that looks at pixels and sees none of what they do.
    def before(state, images, gradient):
        return images + gradient(None, images).astype(np.uint8)

    show = Defence(*DEFENCES["none"]()[:2], before=before, wants={"gradient"})
    two = lambda score, images: np.full(images.shape, 2)  # noqa: E731
    service = ready(tmp_path / "a", show, gradient=two)
    np.testing.assert_array_equal(
        service.query("a", POOL // 2), embedded(POOL // 2 + 2)
    )
    service.close()


@pytest.mark.parametrize(
    ("defence", "kw", "message"),
    [
        (
            TOY,
            {"secret": None},
            "^the defence wants a secret of the service, and there",
        ),
        (TOY, {"calibration": None}, "wants what the victim answers to a calibration"),
        (
            TOY._replace(wants={"gradient"}),
            {"gradient": None},
            "wants a victim whose gradient is known",
        ),
        (TOY._replace(wants={"luck"}), {}, "wants 'luck'; known: secret, calibration"),
        (
            TOY._replace(exempt={"gravity"}),
            {},
            "is exempt from 'gravity'; known: order",
        ),
        (TOY, {"secret": b"short"}, "^the secret is short: give 16 random bytes or"),
        (
            TOY,
            {"dim": 5},
            "calibration is of answers of 4 numbers, the victim's have 5",
        ),
    ],
)
def test_a_defence_without_what_it_wants_makes_no_file(tmp_path, defence, kw, message):
    # Noise without a secret, or a file made before it is refused.
    with pytest.raises(UserError, match=message) as e:
        ready(tmp_path / "a", defence, **kw)
    assert "\n" not in str(e.value) and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("answers", [np.zeros((1, 4)), np.full((3, 4), np.nan)])
def test_a_calibration_of_nothing_is_refused(answers):
    # Deviations of 0 or NaN, which are strengths that change nothing or everything.
    with pytest.raises(UserError, match="two answers or more, all finite"):
        calibrate(answers)


@pytest.mark.parametrize("value", [0.1, 3.3, 0.7, -55.55, 1e-20, 1e20])
@pytest.mark.parametrize("n", [9, 150, 1000])
def test_what_is_always_the_same_has_no_deviation(n, value):
    # Noise, steps and prices in deviations that are the rounding of a mean; a column of
    # small numbers taken for one that does not move; numbers rounded twice.
    random = np.random.default_rng(n)
    answers = np.full((n, 4), value) * [1, 1, 1e-30, 1e-30]
    answers[:, 1] *= 1 + 1e-7 * random.normal(size=n)  # another batch, another last bit
    answers[:, 2] *= 1 + 1e-4 * random.normal(size=n)
    answers[:, 3] *= random.normal(size=n)
    if abs(value) < 1e-9:  # smaller ones are no float32
        answers[:, 2:] *= 1e25
    measured = calibrate(answers)
    assert (measured.deviation > 0).tolist() == [False, False, True, True]
    exact = answers.astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(measured.mean, exact.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(
        measured.deviation[2:], exact[:, 2:].std(axis=0), rtol=1e-6
    )


def test_a_file_is_opened_with_no_other_secret(tmp_path):
    # Noise of two keys in one file, which averages out; a secret that lies in the file.
    path, x = tmp_path / "a", pictures(50, seed=6)
    service = ready(path, TOY)
    first = service.query("a", POOL, "1")
    service.close()
    assert SECRET not in path.read_bytes() and SECRET.hex() not in path.read_text("l1")
    no_secret = TOY._replace(wants={"calibration"})
    for defence, kw, what in (
        (TOY, {"secret": bytes(32)}, "another secret"),
        (TOY, {"calibration": calibrate(embedded(x))}, "another calibration"),
        (no_secret, {}, "a secret"),
        (TOY._replace(out_dim=lambda dim: dim), {}, None),
    ):
        wrong = f"made with {what};" if what else "made for dim 5, not 4;"
        with pytest.raises(UserError, match=wrong):
            ready(path, defence, **kw)
    service = ready(path, TOY)
    np.testing.assert_array_equal(service.query("a", POOL), first)
    service.close()


# ---- what it gives


def test_notes_are_kept_for_each_image(tmp_path):
    # Notes of another image or account, of the call in place of the image, or lost
    # where an image is answered from the store.
    path, x = tmp_path / "a", np.concatenate([POOL[:2]] * 2)
    service = ready(path, TOY)
    service.query("a", x[[0, 0, 1]], "1")
    service.query("a", x[[1, 0]], "2")
    service.query("b", x[:1], "1")
    service.close()
    notes = read_notes(path, "a", ["2", "1"])
    assert sorted(notes) == ["hashes", "near"]
    np.testing.assert_allclose(notes["hashes"], 16, rtol=1e-12)
    near = dict(zip([1, 0], notes["near"][:2], strict=True))
    assert notes["near"].tolist() == [near[i] for i in (1, 0, 0, 0, 1)]
    assert read_notes(path, "b", ["1"])["near"].tolist() == [0]
    assert read_notes(path, "a", []) == {}
    with pytest.raises(UserError, match="no call '2' of account 'b'"):
        read_notes(path, "b", ["2"])


def test_rows_are_found_by_their_bucket(tmp_path):
    # Rows of another bucket or account, in another order, or lost on reopening.
    found = []

    def apply(state, request):
        found.append([row.tolist() for row in request.past([7, -1])])
        n = state["n"]
        rows = np.array([[-1, n], [7, n], [8, n], [7, -n]]) if n != 1 else None
        return request.raw, {"n": n + 1}, rows, {}

    keep = Defence(lambda dim, key: {"n": np.zeros((), np.int64)}, apply)
    for i, account in enumerate("aabaa"):
        service = ready(tmp_path / "a", keep)
        service.query(account, POOL[[i]])
        service.close()
    zero = [[7, 0], [7, 0], [-1, 0]]
    more = [[7, 0], [7, 0], [7, 2], [7, -2], [-1, 0], [-1, 2]]
    assert found == [[], zero, [], zero, more]


def test_the_price_is_asked_before_anything_is_computed(tmp_path):
    # A puzzle handed out for an answer that is made already, or priced by repeats.
    given, wanted = [], []

    def embed(images):
        given.append(len(images))
        return embedded(images)

    def demand(state, n):
        wanted.append(n)
        if n > 2:
            raise UserError("too dear")
        return 0

    dear = DEFENCES["none"]()._replace(demand=demand)
    service = ready(tmp_path / "a", dear, embed=embed)
    service.query("a", POOL[[0, 1, 0]], "1")
    service.query("a", POOL[[0, 1, 0, 2]], "2")
    with pytest.raises(UserError, match="too dear"):
        service.query("a", POOL)
    service.close()
    assert (given, wanted) == ([2, 1], [2, 1, 9])
    assert read_notes(tmp_path / "a", "a", ["2"]) == {}  # 2^0 is no work


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state": {"n": np.zeros(3)}}, r"state was .* \(2,\).* and is .* \(3,\)"),
        ({"state": {"n": np.zeros(2, np.float32)}}, "state was .*float64.*float32"),
        ({"state": {}}, "what grows belongs in its rows"),
        ({"rows": np.zeros((2, 2))}, "rows are float64 of shape"),
        (
            {"rows": np.zeros(2, np.int64)},
            r"rows are int64 of shape \(2,\), not int64 \(",
        ),
        (
            {"rows": np.zeros((2, 0), np.int64)},
            r"not int64 \(r, k\) with a bucket first",
        ),
        (
            {"notes": {"sd": np.zeros(2)}},
            "note 'sd' is not a finite number for each of 3",
        ),
        ({"notes": {"sd": np.full(3, np.inf)}}, "note 'sd' is not a finite number"),
        (
            {"before": lambda s, x: x[:2]},
            r"shows the victim uint8 .* \(2, 2, 3, 1\) for",
        ),
        ({"before": lambda s, x: x / 2}, "shows the victim float64 images"),
    ],
)
def test_what_a_defence_may_not_give(tmp_path, change, message):
    # A state that grows with each call, and what could not be read again.
    kept = {"state": {"n": np.zeros(2)}, "rows": None, "notes": {}} | change
    before = kept.pop("before", lambda state, images: images)
    bad = Defence(
        lambda dim, key: {"n": np.zeros(2)},
        lambda state, request: (request.raw, *kept.values()),
        before=before,
    )
    service = ready(tmp_path / "a", bad)
    with pytest.raises(UserError, match=message) as e:
        service.query("a", POOL[:3])
    assert "nothing was counted" in str(e.value) and "\n" not in str(e.value)
    assert service.counters("a").images == 0
    service.close()


@pytest.mark.parametrize(
    ("table", "column"), [("answers", "notes"), ("rows", "content")]
)
def test_a_flipped_byte_in_notes_or_rows_is_found(tmp_path, table, column):
    # A price, or a past, believed as it lies on the disk.
    path = tmp_path / "a"
    service = ready(path, TOY)
    service.query("a", POOL[:1], "1")
    service.close()
    with closing(sqlite3.connect(path)) as db:
        (value,) = db.execute(f"SELECT {column} FROM {table}").fetchone()
    raw = bytearray(path.read_bytes())
    raw[raw.rindex(value) + len(value) - 2] ^= 1
    path.write_bytes(raw)

    def act():
        if table == "answers":
            return read_notes(path, "a", ["1"])
        with closing(ready(path, TOY)) as service:
            service.query("a", POOL)

    with pytest.raises(UserError, match=f"{path} is damaged .*(answer|a row of a def)"):
        act()


# ---- files made before there were notes and rows


@pytest.mark.parametrize(
    ("name", "kw"), [("memoised", SERVICES[0]), ("fresh", SERVICES[1])]
)
def test_a_file_of_version_0_2_0_is_read_and_taken_up(tmp_path, name, kw):
    # Old runs whose answers were paid for and can no longer be read, a reader that
    # writes, or a bill begun anew.
    old = Path(__file__).parent / "ledgers_0.1.0" / f"{name}.sqlite"
    path = tmp_path / "a"
    path.write_bytes(old.read_bytes())
    before = everything(path)
    calls = Counters(24, 24, 4, 96, 40), Counters(3, 3, 1, 12, 40)
    assert before[1] == dict(zip("ab", calls, strict=True))
    assert read_notes(path, "a", ["0", "3"]) == {}
    assert path.read_bytes() == old.read_bytes()
    for _ in range(2):  # the second time it is of today's form
        service = opened(path, limit=40, secret=SECRET, **kw)
        service.query("a", pictures(6), "0", api_key=KEYS["a"])
        service.query("b", pictures(2, seed=3), "new", api_key=KEYS["b"])
        service.close()
        assert everything(path)[0] == before[0]
    assert read_counters(path, "a") == calls[0]
    assert read_counters(path, "b").images == 5
    with pytest.raises(UserError, match="was made with no (calibration|secret);"):
        ready(path, TOY._replace(out_dim=lambda dim: dim), limit=40, **kw)
