"""Victims that come with sslx: weights, card, and the images they did not see."""

import copy
import hashlib
import json
import os

import jax
import numpy as np
import pytest
from safetensors.numpy import save

import sslx
from sslx import context, data
from sslx.embed import shipped
from sslx.experiment.graph import resolve
from sslx.models import make_encoder, weight_files
from sslx.models.torch_weights import to_torch
from sslx.models.weight_files import read_trunk
from sslx.train import checkpoint
from sslx.types import UserError
from tests import tiny
from tests.experiment.test_separation import pictures
from tests.experiment.test_separation import save as save_set

UNSEEN = np.arange(10, 40)


@pytest.fixture(scope="module")
def made():
    """A small network and its weights in a file."""
    encoder = make_encoder("resnet18", stem="cifar", width=4, dtype="float32")
    params, stats = encoder.init(
        jax.random.key(0), np.zeros((1, 12, 12, 1), np.float32)
    )
    return encoder, save(to_torch("resnet18", params, stats, stem="cifar"))


@pytest.fixture
def folder(tmp_path, monkeypatch, made):
    """One shipped victim, ``small``, of images of 12 pixels; rows 10 to 39 unseen."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    shipped._read.cache_clear()
    encoder, content = made
    file = tmp_path / "small.safetensors"
    file.write_bytes(content)
    own = save_set(tmp_path / "own.npz", pictures(60, 1), pictures(40, 2))
    facts = {
        "encoder": encoder.meta,
        "image_shape": [12, 12, 1],
        "mean": [0.5],
        "std": [0.25],
        "dataset": own,
        "weights": checkpoint.digest(read_trunk(str(file), encoder.meta)),
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    text = shipped.card(facts, data.marks(own, "train")[UNSEEN])
    (tmp_path / "small.json").write_text(text)
    return tmp_path


def config(folder, own="own", **changes):
    given = {
        "victim.source": "shipped:small",
        "victim.dataset": f"npz:{folder / own}.npz",
        "probe.datasets": (f"npz:{folder / own}.npz",),
        "steal.queries": 20,
        "probe.knn_k": 5,
        "data.split_seed": 7,
    }
    return tiny.config(**(given | changes))


def test_the_pool_is_what_it_did_not_see(folder):
    # Catches the pool of a split that the victim was not trained by, an image that it
    # has seen for sale under another name, and a split's seed that names a run.
    found = resolve(config(folder), folder / "runs")
    r = found.thefts[0].responses.recipe
    images = pictures(60, 1)
    sold = context.pool(r, found.context).load()
    np.testing.assert_array_equal(sold, images[UNSEEN])
    assert r["shipped"] == "small" and r["split_seed"] is None is r["held_out"]
    other = save_set(
        folder / "pool.npz", np.concatenate([images, pictures(9, 5)]), pictures(9, 6)
    )
    c = config(folder, steal__pool=other, probe__datasets=(f"npz:{folder}/own.npz",))
    theft = resolve(c, folder / "runs").thefts[0]
    assert theft.pool.size == len(UNSEEN) + 9
    assert "30 for training images of the victim" in theft.pool.apart.why


def test_what_cannot_be(folder):
    # Catches a pool of a part of the images, and weights that were changed or swapped.
    assert list(sslx.victims()) == ["small"]
    save_set(folder / "few.npz", pictures(60, 1)[:39], pictures(40, 2))
    with pytest.raises(UserError, match="30 images .* 29 of them are in"):
        resolve(config(folder, "few"), folder / "runs")
    with pytest.raises(UserError, match="unknown shipped victim 'smal'.*small"):
        resolve(config(folder, victim__source="shipped:smal"), folder / "runs")
    file = folder / "small.safetensors"
    whole = file.read_bytes()
    for bad in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        file.write_bytes(bad)
        with pytest.raises(UserError, match=r"not what sslx came with; install"):
            resolve(config(folder), folder / "runs")
    file.unlink()
    with pytest.raises(UserError, match="is missing; install"):
        resolve(config(folder), folder / "runs")


def test_a_card_is_the_reader_s_own(folder):
    # Catches a card that its reader changes for all that comes after in the process.
    for path in (("dataset",), ("encoder", "name"), ("encoder", "kw", "width")):
        given = sslx.victims()["small"]
        before, place = copy.deepcopy(given), given
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = "changed"
        assert sslx.victims()["small"] == before != given


def test_a_file_is_looked_at_once(folder, monkeypatch):
    # Catches weights that are read again for each combination of a grid, and a file
    # that is not looked at again when it has changed.
    looked: list = []
    monkeypatch.setattr(
        weight_files, "read_trunk", lambda *a: looked.append(a) or read_trunk(*a)
    )
    file = folder / "small.safetensors"
    grid = (("steal.queries=20", "steal.queries=10"), ("seed=0", "seed=1"))
    resolve(config(folder, study__grid=grid), folder / "runs")
    assert [path for path, _ in looked] == [str(file)]
    os.utime(file, ns=(1, 1))
    for _ in range(2):
        shipped.file_of("small")
    assert len(looked) == 2


def test_a_card_of_other_weights(folder):
    # Catches a card that was exchanged for that of another network of the same form.
    path = folder / "small.json"
    card = json.loads(path.read_text()) | {"weights": "0" * 64}
    path.write_text(json.dumps(card | {"card": shipped._digest(card)}))
    shipped._read.cache_clear()
    with pytest.raises(UserError, match="not those of its card; install sslx again"):
        resolve(config(folder), folder / "runs")


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: text.replace('"mean": [\n  0.5', '"mean": [\n  0.6'),
        lambda text: text.replace('"unseen": "', '"unseen": "AAAAAAAAAAA'),
        lambda text: "[]",
        lambda text: "",
    ],
)
def test_a_damaged_card(folder, damage):
    # Catches a traceback, images that are for sale though the victim saw them, another
    # normalisation: of a card that was cut, or changed anywhere.
    path = folder / "small.json"
    whole = path.read_text()
    path.write_text(damage(whole))
    assert path.read_text() != whole
    shipped._read.cache_clear()
    for look in (sslx.victims, lambda: resolve(config(folder), folder / "runs")):
        with pytest.raises(UserError, match=r"small.json is not what sslx came with"):
            look()


SPLITS = {"data": {"tfds": {"examples": {"train": 60, "test": 40}}}}


@pytest.mark.parametrize(
    "training, known",
    [
        (None, {}),
        ({"passes": 900}, {"passes": 900}),
        ({"passes": 900, "recipe": SPLITS}, {"passes": 900, "images": 30}),
        ({"passes": 7, "recipe": {"data": {"npz": "abc"}}}, {"passes": 7}),
        (
            {"passes": 7, "recipe": SPLITS, "images": 29, "flops": 1e9},
            {"passes": 7, "images": 29, "flops": 1e9},
        ),
    ],
)
def test_what_a_card_says_of_the_training(folder, training, known):
    # Catches images that the victim did not see counted, FLOPs that nobody noted, and
    # the card of a victim that was exchanged since a run was made.
    path = folder / "small.json"
    card = json.loads(path.read_text()) | ({"training": training} if training else {})
    path.write_text(json.dumps(card | {"card": shipped._digest(card)}))
    shipped._read.cache_clear()
    recipe = {"shipped": "small", "weights": card["weights"]}
    assert shipped.trained(recipe) == known
    for other in ({"weights": "0"}, {"shipped": "gone"}, {"shipped": ""}):
        assert shipped.trained(recipe | other) == {}
    assert shipped.trained({"pool": {}, "shipped": "small"}) == {}  # of a pool


def test_cards_of_what_is_shipped():
    # Catches weights that are not those of their card, a card that lacks a figure, a
    # victim that is not packed.
    assert list(sslx.victims()) == ["simclr_cifar10", "supervised_cifar10"]
    for name, card in sslx.victims().items():
        trunk = read_trunk(str(shipped.file_of(name)), card["encoder"])
        assert checkpoint.digest(trunk) == card["weights"]
        assert shipped.file_of(name).stat().st_size < 4 * 2**20
        assert len(np.unique(shipped.unseen(name))) == 10_000
        assert card["training"]["passes"] > 0 and card["accuracies"]
