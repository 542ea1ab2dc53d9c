"""Parts of one's own by MODULE:NAME: loss, attack, defence, cleaner, data source."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sslx import data
from sslx.attacks import attack_of
from sslx.losses import loss_of
from sslx.registry import code_of
from sslx.service import read_notes
from sslx.service.bills import LEDGER
from sslx.types import UserError

ROOT = Path(__file__).parents[1]
MODULE = '''
from functools import partial

import jax.numpy as jnp
import numpy as np

from sslx.attacks import Attack
from sslx.attacks.copying import copying, make_student, through
from sslx.data.source import Info, Source, Split
from sslx.models.heads import make_mlp
from sslx.objectives.siamese import unchanged
from sslx.registry import traits
from sslx.service import Defence
from sslx.types import Objective, Out

N = {"train": 360, "test": 120}


@traits(may_be_0=("margin",))
def triplet(student, teacher, *, margin):
    """Closer to the image's answer than to another one's, by the margin."""
    near = jnp.sum(jnp.square(student - teacher), axis=1)
    far = jnp.sum(jnp.square(student - jnp.roll(teacher, 1, axis=0)), axis=1)
    loss = jnp.maximum(0, near - far + margin)
    return jnp.mean(loss), {"active": jnp.mean(loss > 0)}


def shaded(encoder, views, theft, *, shade):
    """Direct extraction, the stealer's images darkened."""
    sight = through(lambda key, images: shade * views(key, images), "asked")
    return copying(make_student(encoder, theft), sight, theft)


def small(theft, *, shade):
    """A head that makes little of the answers."""
    meta = {"widths": (4,), "dtype": theft.dtype, "norm": "none", "bias": True}
    init_head, head = make_mlp(**meta)

    def init(key, batch):
        params, _ = init_head(key, jnp.zeros((1, theft.answer_dim)))
        return {"projector": params}, {}, {}

    def loss(params, stats, extras, batch, key):
        z, _ = head(params["projector"], {}, batch["answers"][:, 0], True)
        return shade * jnp.mean(jnp.square(z)), Out(stats, extras, {})

    return Objective(init, loss, unchanged, meta, ("answers",), 1)


ATTACK = Attack(shaded, head=small)
def rounded(digits, state, request):
    """Answers of a few digits, and how far they moved."""
    answers = np.round(request.raw, digits)
    moved = np.abs(answers - request.raw).max(axis=1)
    return answers, state, None, {"moved": moved}


def coarse(*, digits):
    return Defence(lambda dim, key: {}, partial(rounded, digits), exempt={"scaling"})


@traits(may_be_0=("floor",), drops="share", features=True)
def careful(given, help, *, share, floor):
    """Leaves out the images that an encoder of one's own sees least in."""
    seen = np.abs(help.features()).sum(axis=1)
    kept = np.sort(np.argsort(seen)[round(share * len(seen)) :])
    answers = np.maximum(given.answers, floor)
    return type(given)(*(a[kept] for a in given._replace(answers=answers)))


def images(rest, split):
    """A stripe whose place is the class, on noise."""
    classes, n = int(rest), N[split]
    random = np.random.RandomState(len(split))
    x = random.randint(0, 100, (n, 8, 8, 1)).astype(np.uint8)
    labels = np.arange(n, dtype=np.int32) % classes
    x[np.arange(n), labels] += 100
    return Split(x, labels)


SOURCE = Source(
    find=lambda rest, options: None,
    describe=lambda rest, options: Info(
        {"stripes": int(rest)}, f"stripes/{rest}", (8, 8, 1), int(rest), N
    ),
    load=lambda rest, split, options: images(rest, split),
    ids=lambda rest, split, options: np.arange(N[split]),
)
'''
CONFIG = """
from configs import digits_direct


def get_config():
    c = digits_direct.get_config()
    c.victim.dataset = "mine:SOURCE:3"
    c.probe.datasets = ("mine:SOURCE:3",)
    c.steal.loss, c.steal.attack = "mine:triplet", "mine:ATTACK"
    c.service.defence = "mine:coarse"
    c.steal.clean = ("mine:careful",)
    with c.unlocked():
        c.steal.clean_kw.careful = {"share": 0.2, "floor": 0.0}
        c.steal.loss_kw.triplet = {"margin": 0.5}
        c.steal.attack_kw.ATTACK = {"shade": 0.5}
        c.service.defence_kw.coarse = {"digits": 1}
    for part in (c.victim, c.steal, c.steal.head, c.steal.ssl):
        part.passes, part.steps, part.batch_size = 0, 4, 32
    c.victim.encoder_kw.conv3.width = c.steal.encoder_kw.conv3.width = 4
    c.victim.watch_every = 0
    c.data.held_out, c.steal.queries = 1 / 3, 60
    c.probe.l2_grid = (1e-2,)
    c.study.grid = ()
    c.engine.log_every = 1
    return c
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working directory, in which somebody has written a module."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # and away again
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    (tmp_path / "mine.py").write_text(MODULE)
    yield tmp_path
    sys.modules.pop("mine", None)


@pytest.mark.slow  # a whole experiment from the command line
def test_one_of_each_through_launch(here):
    # Catches a part of one's own that the program does not take, does not use, names a
    # directory after by a sign that has no place there, or leaves out of the recipe.
    (here / "own.py").write_text(CONFIG)
    done = subprocess.run(
        [sys.executable, ROOT / "launch.py", "--config=own.py", "--workdir=runs"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    report = Path(done.stdout.splitlines()[-1].removeprefix("report: ")).parent
    assert (report / "results.json").exists()
    assert not list((here / "runs").rglob("*:*"))
    sha = hashlib.sha256(MODULE.encode()).hexdigest()

    def recipe(pattern):
        (run,) = (here / "runs").glob(pattern)
        return run, json.loads((run / "config.json").read_text())

    _, victim = recipe("victim/*")
    assert victim["data"] == {"stripes": 3, "code": {"mine:SOURCE": sha}}
    asked, r = recipe("responses/*")
    assert r["code"] == {"mine:coarse": sha}
    moved = read_notes(asked / LEDGER, "attacker", ["0000000"])["moved"]
    assert len(moved) == 60 and 0 < moved.max() <= 0.051
    _, r = recipe("steal/mine-ATTACK-head-*")
    assert r["code"] == {"mine:ATTACK": sha}
    steal, r = recipe("steal/mine-ATTACK-mine-triplet-*")
    names = ("mine:ATTACK", "mine:triplet", "mine:careful")
    assert r["code"] == dict.fromkeys(names, sha)
    assert json.loads((steal / "meta.json").read_text())["images"] == 48  # of 60
    assert (r["numbers"], r["attack_numbers"]) == ({"margin": 0.5}, {"shade": 0.5})
    rows = [json.loads(line) for line in (steal / "metrics.jsonl").open()]
    assert len(rows) == 4 and all(0 <= row["active"] <= 1 for row in rows)


def test_what_a_part_does_is_used(here):
    # Catches the entry of a table in the place of one's own.
    assert loss_of("mine:triplet")(np.eye(2), np.eye(2), margin=2.5)[0] == 0.5
    assert attack_of("mine:ATTACK").objective.__name__ == "shaded"
    split = data.load("mine:SOURCE:4", "test")
    assert split.images.shape == (120, 8, 8, 1) and set(split.labels) == {0, 1, 2, 3}
    assert data.ids("mine:SOURCE:4", "train").shape == (360,)


def test_code_names_what_it_decides(here):
    # Catches results of an older module taken for those of a newer one, and a recipe
    # that changes where nothing of one's own is used.
    loss_of("mine:triplet")
    before = code_of("mine:triplet", "mse", "own")
    identity = data.describe("mine:SOURCE:3").identity
    assert list(before["code"]) == ["mine:triplet"]
    (here / "mine.py").write_text(MODULE + "# another\n")
    assert code_of("mine:triplet") != before
    assert data.describe("mine:SOURCE:3").identity != identity
    assert code_of("mse") == {}
    assert "code" not in data.describe("digits").identity


@pytest.mark.parametrize(
    ("find", "name", "message"),
    [
        (loss_of, "mine:", "loss 'mine:' is not of the form MODULE:NAME"),
        (loss_of, "nowhere:x", "no module 'nowhere', neither .* working directory"),
        (loss_of, "mine:N", "'mine' has no function 'N'"),
        (attack_of, "mine:triplet", "'mine' has no Attack 'triplet'"),
        (data.describe, "mine:coarse", "'mine' has no Source 'coarse'"),
        (data.describe, "nowhere:SOURCE", "unknown data set 'nowhere.*MODULE:NAME"),
        (loss_of, "broken:x", r"importing broken failed: Zero.* \(broken.py, line 2\)"),
    ],
)
def test_what_is_wrong_is_said(here, find, name, message):
    # Catches a traceback, and a part of another kind that is taken.
    (here / "broken.py").write_text("import mine\n1 / 0\n")
    with pytest.raises(UserError, match=message) as error:
        find(name)
    assert "\n" not in str(error.value)
