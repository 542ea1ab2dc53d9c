"""No image is sold that belongs to victim or test, or judged on and learnt."""

import os
import re

import numpy as np
import pytest
from PIL import Image

from sslx import context, data
from sslx.data.sources import folder as folder_source
from sslx.data.splits import divide, joined
from sslx.experiment.graph import resolve
from sslx.experiment.victims import victim_run
from sslx.program import run as launch
from sslx.runs.files import read_json
from sslx.types import UserError
from tests import tiny

SIDE = 12


def pictures(n, seed, side=SIDE, channels=1):
    shape = (n, side, side, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


OTHERS = "train_images[90], train_images[91], train_images[92], ..."


def save(path, train, test):
    """An npz set of three classes; its name."""
    labels = {k: np.arange(len(v)) % 3 for k, v in (("train", train), ("test", test))}
    np.savez(
        path,
        train_images=train,
        test_images=test,
        **{f"{k}_labels": v for k, v in labels.items()},
    )
    return f"npz:{path}"


def config(own, probed=None, pool="held_out", **changes):
    given = {
        "victim.dataset": own,
        "probe.datasets": (probed or own,),
        "steal.pool": pool,
        "data.held_out": 0.5,
        "steal.queries": 20,
        "victim.watch_every": 0,
        "probe.knn_k": 5,
        "victim.batch_size": 16,
        "steal.batch_size": 16,
    }
    return tiny.config(**(given | changes))


def grey(images):
    """The same picture in RGB."""
    return np.repeat(images, 3, axis=-1)


def flat(n, side=SIDE):
    """Images of one grey each, which no change of size changes."""
    return np.full((n, side, side, 1), 5 * np.arange(n)[:, None, None, None], np.uint8)


TRAIN, OTHER = pictures(60, 1), pictures(90, 3)
TEST = np.concatenate([flat(10), pictures(30, 2)])
POOLS = {
    # pool's images, data.size, data.channels -> images left, words told
    "other images": ((OTHER,), {}, 90, []),
    "test images": (
        (OTHER, TEST[:7]),
        {},
        90,
        ["7 for test images", "train_images[90]"],
    ),
    "the victim's": ((TRAIN, OTHER), {}, 120, ["30 for training images of the victim"]),
    "both": ((TEST, TRAIN[:0], OTHER), {}, 90, ["40 for test images"]),
    "in colour": (
        (grey(OTHER), grey(TEST[:5])),
        {"data.channels": 1},
        90,
        ["5 for test"],
    ),
    "enlarged": (
        (pictures(90, 3, 2 * SIDE), flat(10, 2 * SIDE)[3:9]),
        {"data.size": SIDE},
        90,
        [
            "6 for test images",
            "train_images[90], train_images[91], train_images[92], ...",
        ],
    ),
}


@pytest.mark.parametrize("images, form, left, words", POOLS.values(), ids=POOLS)
def test_pool_without_others_images(tmp_path, images, form, left, words):
    # Catches images for sale that the victim trained on or that a probe tests on, told
    # apart by row, by file or by the pixels before size and channels are changed.
    own = save(tmp_path / "own.npz", TRAIN, TEST)
    pool = save(
        tmp_path / "pool.npz",
        np.concatenate(images),
        pictures(9, 4, *images[0].shape[2:]),
    )
    found = resolve(config(own, pool=pool, **form), tmp_path)
    (theft,) = found.thefts
    assert theft.pool.size == left
    for word in words:
        assert word in " ".join(found.left_out)
    assert bool(words) == bool(found.left_out)
    sold = context.pool(theft.responses.recipe, found.context).load()
    assert len(sold) == left
    known = data.ids(own, "train")
    mine, _ = divide(known, 0.5, config(own).data.split_seed)
    seen = {image.tobytes() for image in [*TRAIN[mine], *TEST]}
    assert not any(image.tobytes() in seen for image in sold)


def test_clean_sets_keep_their_names(tmp_path):
    # Catches runs on sets without a copy that get a new name, and two pools that differ
    # in what is left out under one.
    own = save(tmp_path / "own.npz", TRAIN, TEST)
    clean = resolve(config(own), tmp_path)
    assert all("left_out" not in run.recipe for run in clean.goals)
    assert all("copies" not in run.recipe for run in clean.goals)
    pool = save(
        tmp_path / "pool.npz", np.concatenate([OTHER, TEST[:4]]), pictures(9, 4)
    )
    other = save(tmp_path / "other.npz", TRAIN, pictures(40, 5))
    first = resolve(config(own, pool=pool), tmp_path).thefts[0]
    second = resolve(config(own, other, pool=pool), tmp_path).thefts[0]
    assert first.responses.name != second.responses.name


@pytest.mark.parametrize("double, judged", [(0, 40), (1, 39), (20, 20)])
def test_nobody_is_judged_on_what_a_victim_learnt(tmp_path, double, judged):
    # Catches figures on images that the victim was trained on, where the probe's set is
    # another one; and encoders of one table on different images.
    seen = divide(np.arange(60), 0.5, tiny.config().data.split_seed)[0]
    own = save(tmp_path / "own.npz", TRAIN, pictures(12, 7))
    test = np.concatenate([TRAIN[seen[:double]], TEST[double:]])
    probed = save(tmp_path / "probed.npz", pictures(60, 6), test)
    found = resolve(config(own, probed), tmp_path)
    probes = [run for run in found.probes if run.stage in ("probe", "fidelity")]
    kept = {tuple(context.kept_rows(run.recipe, found.context)) for run in probes}
    assert kept == {tuple(range(double, 40))} and len(probes) > 4
    if double:
        assert f"{double} of 40 test images of 'npz:" in found.left_out[0]
        assert "training images of a victim (test_images[0]" in found.left_out[0]


def test_neighbours_change_no_name(tmp_path):
    # Catches a theft that asks anew, for images that are a probe's, because of what
    # another combination's victim was trained on.
    own = save(tmp_path / "own.npz", TRAIN, pictures(12, 7))
    test = np.concatenate([pictures(20, 8), TEST])
    other = np.concatenate([test[:5], pictures(55, 12)])
    other = save(tmp_path / "other.npz", other, pictures(9, 13))
    probed = save(tmp_path / "probed.npz", pictures(60, 6), test)
    pool = np.concatenate([OTHER, test[:5]])
    pool = save(tmp_path / "pool.npz", pool, pictures(9, 14))
    alone = resolve(config(own, probed, pool), tmp_path).thefts[0]
    grid = (("", f"victim.dataset={other}"),)
    both = resolve(config(own, probed, pool, **{"study.grid": grid}), tmp_path)
    assert len(both.members[0].tests[0].rows) < 60
    assert both.thefts[0].steal.name == alone.steal.name
    assert alone.pool.size == both.thefts[0].pool.size == 90


def test_the_probes_own_training_images(tmp_path):
    # Catches a probe that is judged on what it was fitted to, where the images are the
    # same only in the form that networks see.
    train, test = grey(pictures(60, 6)), grey(pictures(38, 15))
    test[:8] = train[:8]
    test[:8, 0, 0, 2] ^= 1  # too little to change the grey value
    own = save(tmp_path / "own.npz", TRAIN, TEST)
    probed = save(tmp_path / "probed.npz", train, test)
    found = resolve(config(own, probed, **{"data.channels": 1}), tmp_path)
    left = len(found.members[0].tests[0].rows)
    assert 30 <= left < 38  # some grey values are at the edge
    assert f"{38 - left} of 38 test images" in found.left_out[0]
    assert "training images of the set itself" in found.left_out[0]


def test_too_few_are_left(tmp_path):
    # Catches figures on a small rest, and a plan that asks images that are not there.
    seen = divide(np.arange(60), 0.5, tiny.config().data.split_seed)[0]
    own = save(tmp_path / "own.npz", TRAIN, pictures(12, 7))
    test = np.concatenate([TRAIN[seen[:21]], TEST[21:]])
    probed = save(tmp_path / "probed.npz", pictures(60, 6), test)
    with pytest.raises(UserError, match="21 of 40 test images .* less than half"):
        resolve(config(own, probed), tmp_path)
    own = save(tmp_path / "own2.npz", TRAIN, TEST)
    pool = save(tmp_path / "pool.npz", np.concatenate([OTHER[:19], TEST]), OTHER[50:])
    with pytest.raises(UserError, match="only 19 images .*40 for test images of 'npz:"):
        resolve(config(own, pool=pool), tmp_path)


def test_the_test_split_for_sale(tmp_path):
    # Catches the rows for sale taken for test images, and a copy of one of them among
    # those that are judged on.
    test = np.concatenate([TEST, TEST[:10]])
    own = save(tmp_path / "own.npz", TRAIN, test)
    found = resolve(config(own, pool="test", **{"steal.test_kept": 0.5}), tmp_path)
    sold = context.pool(found.thefts[0].responses.recipe, found.context).load()
    (probe, *_) = [run for run in found.probes if run.stage == "probe"]
    kept = test[context.kept_rows(probe.recipe, found.context)]
    assert len(sold) + len(kept) == 50 and found.left_out == []
    assert not {i.tobytes() for i in sold} & {i.tobytes() for i in kept}


def test_copies_stay_on_one_side(tmp_path):
    # Catches copies within a split on both sides of the held-out share; splits of other
    # copies under one name.
    twice = save(tmp_path / "twice.npz", np.concatenate([TRAIN, TRAIN]), TEST)
    ids = data.ids(twice, "train")
    np.testing.assert_array_equal(ids, np.tile(np.arange(60), 2))
    assert data.copies(twice, data.Options(), "train")
    assert not data.copies(twice, data.Options(), "test")
    one, other = (
        victim_run(config(twice, **{"data.held_out": share}), tmp_path)
        for share in (0.5, 0.0)
    )
    assert "copies" in one.recipe and "copies" not in other.recipe
    # Equal only when they are grey.
    rgb = np.concatenate([grey(TRAIN), grey(TRAIN)])
    rgb[60:, :, :, 2] ^= 1  # too little to change the grey value
    coloured = save(tmp_path / "rgb.npz", rgb, grey(TEST))
    as_grey = data.Options(channels=1)
    assert len(set(data.ids(coloured, "train"))) == 120
    assert len(set(data.ids(coloured, "train", as_grey))) < 100
    marks = data.marks(coloured, "train", as_grey)
    ids = data.ids(coloured, "train", as_grey)
    one, other = divide(ids, 0.3, 0)
    assert not set(marks[one]) & set(marks[other])


JOINED = {
    "no copies": ([5, 6, 7], [1, 2, 3], [5, 6, 7]),
    "views of one": ([5, 5, 7], [1, 2, 3], [5, 5, 7]),
    "copies": ([7, 6, 5], [1, 2, 1], [5, 6, 5]),
    "through a third": ([4, 4, 2, 2, 9], [1, 2, 2, 3, 3], [2, 2, 2, 2, 2]),
    "negative": ([-3, 8, 8], [1, 1, 2], [-3, -3, -3]),
}


@pytest.mark.parametrize("ids, marks, wanted", JOINED.values(), ids=JOINED)
def test_joined(ids, marks, wanted):
    # Catches groups that are joined in pairs only, and ids that follow the rows' order.
    found = joined(np.array(ids), np.array(marks))
    np.testing.assert_array_equal(found, wanted)


def test_names_that_are_no_text(tmp_path):
    # Catches a report that cannot be written, and a line of two lines, for the name of
    # a file that is left out.
    own = save(tmp_path / "own.npz", TRAIN, TEST)
    odd = {b"caf\xe9.png": TEST[0], b"a\nb.png": TEST[1]}
    plain = {b"%d.png" % i: image for i, image in enumerate(OTHER[:9])}
    for name, image in (odd | plain).items():
        file = os.path.join(os.fsencode(tmp_path), b"pool", name)
        os.makedirs(os.path.dirname(file), exist_ok=True)
        with open(file, "wb") as out:
            Image.fromarray(image[..., 0]).save(out, "PNG")
    c = config(own, pool=f"folder:{tmp_path / 'pool'}", **{"steal.queries": 9})
    (why,) = resolve(c, tmp_path).left_out
    assert why.isprintable() and "2 for test images" in why
    assert r"caf\udce9.png" in why and r"a\nb.png" in why


def test_sets_are_looked_at_once(tmp_path, monkeypatch):
    # Catches a folder that is looked through for every question of every combination.
    folder = tmp_path / "own"
    for split, images in (("train", TRAIN), ("test", TEST)):
        for i, image in enumerate(images):
            file = folder / split / str(i % 3) / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[..., 0]).save(file)
    scans = []
    scan = folder_source.find_files
    monkeypatch.setattr(
        folder_source, "find_files", lambda path: scans.append(path) or scan(path)
    )
    grid = tuple(f"steal.seed={seed}" for seed in range(5))
    resolve(config(f"folder:{folder}", **{"study.grid": (grid,)}), tmp_path)
    assert len(scans) < 12


@pytest.mark.slow
def test_left_out_and_uneven_to_the_page(tmp_path):
    # Catches a figure on other images than its n_test says, a page without a word of
    # what is left out; uneven classes without majority and balanced accuracy.
    seen = divide(np.arange(60), 0.5, tiny.config().data.split_seed)[0]
    own = save(tmp_path / "own.npz", TRAIN, pictures(12, 7))
    path = tmp_path / "probed.npz"
    labels = np.array([0] * 40 + [1] * 10 + [2] * 10)
    np.savez(
        path,
        train_images=pictures(60, 6),
        train_labels=labels,
        test_images=np.concatenate([TRAIN[seen[:4]], pictures(56, 8)]),
        test_labels=labels,
    )
    folder = launch(config(own, f"npz:{path}"), tmp_path / "runs")
    found = read_json(folder / "results.json")
    linear = [row for row in found["rows"] if row["evaluator"] == "linear"]
    assert {row["n_test"] for row in linear} == {56}
    by_role = {(row["role"], row["evaluator"]): row for row in found["rows"]}
    assert by_role["majority", "linear"]["accuracy"] == pytest.approx(36 / 56)
    assert by_role["majority", "linear_balanced"]["accuracy"] == pytest.approx(1 / 3)
    page = (folder / "report.md").read_text()
    assert re.search(r"4 of 60 test images of .* left out", page)
    assert "linear, classes alike" in page and "majority" in page
