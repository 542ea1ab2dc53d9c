import json

import numpy as np
import pytest

from sslx import data
from sslx.cli.inspect import look as inspect_run
from sslx.data import Split
from sslx.embed.finished import open_run
from sslx.experiment.graph import resolve
from sslx.stages import victim, watch
from sslx.types import UserError
from tests import tiny

RECIPE = {"held_out": 0.25, "split_seed": 0, "seed": 3}


def numbered(n):
    """A split whose images are their row numbers, three rows an original."""
    images = np.arange(n, dtype=np.uint16).view(np.uint8).reshape(n, 1, 1, 2)
    return Split(images, np.arange(n, dtype=np.int32)), np.arange(n) // 3


def test_what_is_looked_at():
    # Catches queries that the victim trains on or that show what the bank shows,
    # banks of the pool, sizes without bound, a draw that moves.
    split, ids = numbered(12_000)
    shown = watch.choose(split, ids, RECIPE)
    own, held = watch.divide(ids, 0.25, 0)
    for part, rows, most in ((shown.bank, own, 5000), (shown.queries, held, 2000)):
        assert len(part.labels) == most == len(set(part.labels))
        assert set(part.labels) <= set(rows)
        assert np.array_equal(part.images, split.images[part.labels])
    again = watch.choose(split, ids, RECIPE)
    assert np.array_equal(again.queries.labels, shown.queries.labels)
    other = watch.choose(split, ids, RECIPE | {"seed": 4})
    assert set(other.queries.labels) != set(shown.queries.labels)


def test_what_is_looked_at_where_nothing_is_held_out():
    # Catches queries that find themselves, or their own original, in the bank.
    split, ids = numbered(300)
    shown = watch.choose(split, ids, RECIPE | {"held_out": 0.0})
    bank, queries = (set(ids[part.labels]) for part in shown)
    assert (len(bank), len(queries)) == (80, 20) and bank.isdisjoint(queries)


VOTE = {"classes": 2, "k": 3, "temperature": 0.1}


def judged(features, two=None):
    labels = np.arange(len(features), dtype=np.int32) % 2
    part = Split(np.zeros((len(features), 1, 1, 1), np.uint8), labels)
    two = np.stack([features, features], 1) if two is None else two
    return watch.judge(features, features, two, watch.Images(part, part), VOTE)


def test_collapse_is_told_from_little_training():
    # Catches a warning of sound encoders (untrained ones, whose images have cosines of
    # 0.99, among them), and none of collapsed ones.
    random = np.random.RandomState(0)
    noise = random.randn(400, 64)
    noise -= noise.mean(0)
    mean = np.ones(64)
    for scale in (10.0, 1.0, 0.1):  # 0.1: a mean cosine of 0.99
        row, problem = judged(mean + scale * noise)
        assert problem == "" and row["rank"] > 5
    row, problem = judged(mean + 0.005 * noise)
    assert "collapsed (std" in problem and "\n" not in problem
    # All on one line, both ways: features differ, but in one respect only.
    line = random.randn(400, 1) * mean
    row, problem = judged(line)
    assert row["std"] > 0.1 and "effective rank 1.00" in problem
    row, problem = judged(np.full((4, 64), np.nan))
    assert row == {} and "not finite" in problem


def test_values_of_a_look():
    # Catches bank and queries mixed up, a view compared with itself.
    features = np.eye(8)[np.arange(40) % 2]
    row, _ = judged(features, np.stack([features, -features], 1))
    assert row["knn"] == row["linear"] == 1.0
    assert row["alignment"] == pytest.approx(4.0)


def test_a_bank_of_one_class():
    # Catches a training that ends because a look has nothing to fit.
    images = np.zeros((40, 1, 1, 1), np.uint8)
    part = Split(images, np.zeros(40, np.int32))
    features = np.random.RandomState(0).randn(40, 8)
    two = np.stack([features, features], 1)
    row, _ = watch.judge(features, features, two, watch.Images(part, part), VOTE)
    assert "linear" not in row and row["knn"] == 1.0


def rows_of(path):
    return [
        json.loads(line) for line in (path / "watch.jsonl").read_text().splitlines()
    ]


def trained(tmp_path, steps=45, **changes):
    config = tiny.config(stages=("victim",), victim__steps=steps, **changes)
    found = resolve(config, tmp_path)
    victim.make(found.members[0].victim, found.context)
    return found.members[0].victim


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("watched"), victim__watch_every=1)


@pytest.mark.slow
def test_rows_of_a_run(run):
    # Catches epochs of another length, features of another state or by the batch's
    # statistics, other images than those chosen.
    rows = rows_of(run.path)
    assert [row["step"] for row in rows] == [21, 42, 45]  # 2,700 images in 128s
    split, ids = data.load("digits", "train"), data.ids("digits", "train")
    shown = watch.choose(split, ids, run.recipe)
    _, pool = watch.divide(ids, 1 / 3, 0)  # as the digits' config has it
    assert {i.tobytes() for i in shown.queries.images} <= {
        i.tobytes() for i in split.images[pool]
    }
    embed = open_run(run.path).embed
    features, bank = embed(shown.queries.images), embed(shown.bank.images)
    vote = {"classes": 10, "k": 20, "temperature": 0.07}
    two = np.stack([features, features], 1)
    row, _ = watch.judge(features, bank, two, shown, vote)
    for name in ("knn", "linear", "std", "rank", "uniformity"):
        assert rows[-1][name] == pytest.approx(row[name], rel=1e-4), name
    assert 0 < rows[-1]["alignment"] < 2  # of views, which differ
    assert inspect_run(run.path)["watch"] == rows[-1]


@pytest.mark.slow
def test_it_is_no_part_of_the_run(run, tmp_path, monkeypatch, capsys):
    # Catches a recipe that names how often was looked; and a warning at every look, or
    # in several lines.
    assert "watch_every" not in json.dumps(run.recipe)
    monkeypatch.setattr(watch, "LEAST_RANK", 1e6)
    other = trained(tmp_path, victim__watch_every=1)
    assert other.name == run.name
    assert rows_of(other.path) == rows_of(run.path)
    lines = [x for x in capsys.readouterr().err.splitlines() if "collapsed" in x]
    assert len(lines) == 1 and "at step 21" in lines[0]


def test_none_is_none(tmp_path):
    # Catches a look at the end where none was wanted.
    run = trained(tmp_path, 2, victim__watch_every=0)
    assert not (run.path / "watch.jsonl").exists()
    with pytest.raises(UserError, match="watch_every must be 0 or more"):
        resolve(tiny.config(victim__watch_every=-1), tmp_path)


@pytest.mark.slow
def test_a_method_of_one_view_is_watched(tmp_path):
    # Catches a second view that a method of one does not have.
    run = trained(
        tmp_path, 4, victim__objective="supervised", victim__augment="supervised"
    )
    assert rows_of(run.path)[0]["alignment"] > 1e-3
