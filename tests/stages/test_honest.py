"""Honest users of one set and of several."""

import numpy as np
import pytest

from sslx import data
from sslx.experiment.graph import resolve
from sslx.stages import honest
from sslx.types import UserError
from tests import tiny

USERS = {"service__honest__users": 2, "service__honest__kinds": ("domain", "domains")}


@pytest.fixture
def negatives(tmp_path):
    """Another set: digits' test images turned to negatives, of two classes."""
    split = data.load("digits", "test")
    path = tmp_path / "negatives.npz"
    train, test = slice(0, 300), slice(300, 400)
    np.savez(
        path,
        train_images=255 - split.images[train],
        train_labels=split.labels[train] % 2,
        test_images=255 - split.images[test],
        test_labels=split.labels[test] % 2,
    )
    return f"npz:{path}"


def users(found):
    return [run for run in found.probes if run.stage == "honest"]


def test_another_set_is_another_domain(tmp_path, negatives):
    # Catches users of the first set alone, a class of one set taken for one of the
    # other, users who are named as if they had one set.
    one, two = (
        resolve(tiny.config(service__honest__beside=beside, **USERS), tmp_path)
        for beside in ((), (negatives,))
    )
    (images, shop), (more, both) = (
        honest._shop(users(found)[0].recipe, found.context) for found in (one, two)
    )
    n = len(images)
    assert len(set(shop.labels)) == 10 and not shop.domains.any()
    np.testing.assert_array_equal(more[:n], images)
    np.testing.assert_array_equal(
        more[n:], data.load(negatives, "test", data.AS_THEY_ARE).images
    )
    assert set(both.labels[n:]) == {10, 11} and not set(shop.groups) & set(
        both.groups[n:]
    )
    assert both.domains.tolist() == [0] * n + [1] * 100
    assert {run.key for run in users(one)}.isdisjoint(run.key for run in users(two))
    assert "beside" not in users(one)[0].recipe


def test_what_users_send_is_nobody_elses(tmp_path, negatives):
    # Catches a thief, or a provider who measures, with an honest user's images.
    def pool(beside):
        changes = {"service__honest__beside": beside} | USERS
        return resolve(tiny.config(**changes), tmp_path).thefts[0].pool

    path = tmp_path / "own.npz"
    own, labels = data.load("digits", "train").images[:600], np.arange(600) % 2
    # A third of these is no victim's image: it was the thief's, and is the users' now.
    np.savez(
        path,
        train_images=own[:50] // 2,
        train_labels=labels[:50],
        test_images=np.concatenate([own, 255 - own]),
        test_labels=np.concatenate([labels, labels]),
    )
    assert pool(()).size - pool((f"npz:{path}",)).size > 100


@pytest.mark.parametrize(
    ("beside", "message"),
    [
        (("digits",), "'digits' is 'digits', whose test images are honest users'"),
        ((3,), "must hold names, not 3"),
        (("nowhere",), "unknown data set 'nowhere'"),
        (("npz:nowhere.npz",), "no file nowhere.npz"),
    ],
)
def test_sets_that_do_not_do(tmp_path, beside, message):
    with pytest.raises(UserError, match=message) as error:
        resolve(tiny.config(service__honest__beside=beside, **USERS), tmp_path)
    assert "\n" not in str(error.value)


def test_users_of_a_theft_that_asks_nothing(tmp_path):
    # Catches users of a defence that is never calibrated, found out in the middle.
    changes = {
        "steal__attack": "ssl_only",
        "steal__loss": "own",
        "steal__ssl__steps": 9,
    }
    defence = {"service__calibration__images": 60, "service__defence": "noise"}
    found = resolve(tiny.config(**changes, **defence, **USERS), tmp_path)
    assert users(found) and all("calibration" in run.recipe for run in users(found))


def test_a_set_under_two_names(tmp_path, negatives):
    other = negatives.replace("/negatives", "/./negatives")
    with pytest.raises(UserError, match="negatives.npz' is 'npz:"):
        resolve(
            tiny.config(service__honest__beside=(negatives, other), **USERS), tmp_path
        )


def test_images_of_another_shape(tmp_path):
    wide = tmp_path / "wide.npz"
    images = (
        np.zeros((40, 5, 5, 1), np.uint8)
        + np.arange(40, dtype=np.uint8)[:, None, None, None]
    )
    labels = np.arange(40) % 2
    np.savez(
        wide,
        **{"train_images": images, "train_labels": labels},
        **{"test_images": images + 100, "test_labels": labels},
    )
    with pytest.raises(UserError, match="service.honest.beside: .*data.size"):
        resolve(
            tiny.config(service__honest__beside=(f"npz:{wide}",), **USERS), tmp_path
        )


def test_one_who_uses_no_defence_stands_beside(tmp_path):
    # Catches users whose loss is told beside other users, or beside their own answers.
    def recipes(**changes):
        found = resolve(tiny.config(**changes, **USERS), tmp_path)
        return users(found)

    defence = {"service__calibration__images": 60, "service__defence": "noise"}
    plain, defended = recipes(), recipes(**defence)
    assert [run.parents["clean"].key for run in defended] == [run.key for run in plain]
    assert all("clean" not in run.parents for run in plain)
