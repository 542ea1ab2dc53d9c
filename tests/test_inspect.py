import json
import shutil
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

import sslx
from sslx.cli.inspect import look
from sslx.cli.inspect_text import as_text
from sslx.types import UserError
from tests import tiny


@pytest.fixture
def workdir(experiment, tmp_path):
    """A copy to damage."""
    return shutil.copytree(experiment, tmp_path / "checkpoints")


def only(workdir, stage, start=""):
    (path,) = (p for p in (workdir / stage).iterdir() if p.name.startswith(start))
    return path


def test_a_victim(experiment):
    # Catches names, shapes, counts or norms that are not those of the network.
    path = only(experiment, "victim")
    facts = look(path)
    assert facts["run"] == f"victim/{path.name}"
    assert (facts["finished"], facts["step"], facts["steps"]) == (True, 12, 12)
    assert facts["what"] == {
        "objective": "simclr",
        "encoder": "conv3",
        "encoder_kw": {"width": 8, "dtype": "float32"},
        "data": "digits",
        "steps": 12,
        "batch_size": 128,
        "seed": 0,
    }
    encoder, head = facts["weights"]["encoder"], facts["weights"]["head"]
    leaves = {leaf["name"]: leaf for leaf in encoder["leaves"]}
    assert leaves["params/conv2/kernel"]["shape"] == [3, 3, 8, 16]
    assert leaves["params/conv2/kernel"]["count"] == 9 * 8 * 16
    assert leaves["stats/norm3/var"]["dtype"] == "float32"
    convolutions = 9 * (8 + 8 * 16 + 16 * 32)
    counts = {row["name"]: row["count"] for row in encoder["total"]}
    assert counts == {"params": convolutions + 2 * 56, "stats": 2 * 56}
    assert [row["count"] for row in head["total"]] == [32 * 33 + 33 * 128]
    params = sslx.open_run(path).variables()["encoder"]["params"]
    kernel = params["conv2"]["kernel"]
    norm = leaves["params/conv2/kernel"]["norm"]
    assert norm == pytest.approx(np.linalg.norm(kernel.astype(np.float64)))
    squares = sum(leaf["norm"] ** 2 for n, leaf in leaves.items() if n[0] == "p")
    assert encoder["total"][0]["norm"] == pytest.approx(squares**0.5)
    assert facts["metrics"]["step"] == 12 and "loss" in facts["metrics"]


def test_depth_folds(experiment):
    # Catches folded rows that lose arrays, and weights read when they need not be.
    path = only(experiment, "victim")
    folded = look(path, depth=2)["weights"]["encoder"]["leaves"]
    assert [row["name"] for row in folded][:4] == [
        f"params/{name}" for name in ("conv1", "conv2", "conv3", "norm1")
    ]
    assert folded[3]["arrays"] == 2 and folded[3]["count"] == 16
    assert look(path, depth=0)["weights"]["encoder"]["leaves"] == []
    unread = look(path, norms=False)["weights"]["encoder"]
    assert {row["norm"] for row in unread["leaves"]} == {None}
    assert sum(row["count"] for row in unread["leaves"]) == sum(
        row["count"] for row in folded
    )


def test_a_chain_to_the_data(experiment):
    # Catches a lineage that stops early, and a stealer without its attack.
    path = only(experiment, "steal", "direct-infonce")
    facts = look(path)
    assert (facts["what"]["attack"], facts["what"]["loss"]) == ("direct", "infonce")
    assert [n["run"].split("/")[0] for n in facts["lineage"]] == [
        "steal",
        "responses",
        "victim",
    ]
    assert [n["generation"] for n in facts["lineage"]] == [0, 1, 2]
    assert facts["lineage"][-1]["data"] == facts["what"]["data"] == "digits"
    text = as_text(facts)
    assert f"\n      victim/{only(experiment, 'victim').name}  finished" in text


def test_bill_results_report(experiment):
    # Catches counters or accuracies other than those of the ledger and the probe.
    facts = look(only(experiment, "responses"))
    assert facts["ledger"] == {
        "limit": 300,
        "used": 300,
        "left": 0,
        "unique": 300,
        "calls": 5,
        "values": 300 * 32,
        "cost": 0.3,
    }
    assert "limit 300, used 300, left 0" in as_text(facts)
    probe = only(experiment, "probe", "pixels")
    facts = look(probe)
    assert facts["results"] == json.loads((probe / "meta.json").read_text())["results"]
    assert "knn  93.1 %" in as_text(facts)
    report = only(experiment, "report")
    facts = look(report)
    assert str(report / "report.md") in facts["report"]
    assert len({n["run"] for n in facts["lineage"]}) == len(facts["lineage"]) == 22
    assert str(report / "report.md") in as_text(facts)


def test_a_workdir(experiment):
    # Catches a run left out or shown twice, one at a wrong place, another's accuracy.
    facts = look(experiment)
    lines = as_text(facts).splitlines()
    runs = [line for line in lines if "/" in line and ": " not in line]
    names = sorted(line.split()[0] for line in runs)
    stages = {p.name for p in experiment.iterdir()}
    assert stages == {
        *("victim", "responses", "steal", "features", "probe", "fidelity"),
        *("gallery", "report"),
    }
    there = [f"{s}/{p.name}" for s in stages for p in (experiment / s).iterdir()]
    assert names == sorted(there) == sorted(facts["runs"]) and len(names) == 22
    depths = {line.split()[0]: len(line) - len(line.lstrip()) for line in runs}
    for key, depth in depths.items():
        stage = key.split("/")[0]
        expected = {"victim": 2, "responses": 4, "steal": 6, "report": 2}
        assert depth == expected.get(stage, depth)
    steal = only(experiment, "steal", "direct-mse")
    probe = only(experiment, "probe", "stolen-digits-mse")
    row = json.loads((probe / "meta.json").read_text())["results"][0]
    assert facts["runs"][f"steal/{steal.name}"]["results"][0] == row
    (line,) = (line for line in runs if steal.name in line)
    assert f"finished, linear {100 * row['accuracy']:.1f} %" in line
    features, below = runs[runs.index(line) + 1 :][:2]
    assert features.split()[0].startswith("features/stolen-digits-mse")
    assert "linear" not in features
    assert below.split()[0] == f"probe/{probe.name}"
    assert depths[f"probe/{probe.name}"] == 10
    assert max(map(len, lines)) <= 100


def test_lineage(experiment):
    # Catches children or parents that do not lead to each other.
    runs = sslx.lineage(experiment)
    for key, run in runs.items():
        assert run.finished and run.problem is None
        assert run.key == key and run.path == experiment / key
        for parent in run.parents.values():
            assert key in runs[parent].children
        for child in run.children:
            assert key in runs[child].parents.values()


def test_unfinished(workdir):
    # Catches a run taken for finished, and a later checkpoint than the last whole one.
    path = only(workdir, "victim")
    meta = json.loads((path / "meta.json").read_text())
    del meta["weights"]
    (path / "meta.json").write_text(json.dumps(meta | {"finished": False}))
    (path / "ckpt" / "8").rename(path / "ckpt" / "4")
    (path / "ckpt" / "12").rename(path / "ckpt" / "8")
    facts = look(path)
    assert (facts["finished"], facts["step"], facts["steps"]) == (False, 8, 12)
    assert facts["weights"]["encoder"]["problem"] is None
    assert "unfinished, saved at step 8 of 12" in as_text(facts)
    assert "unfinished, saved at step 8 of 12" in as_text(look(workdir))
    shutil.rmtree(path / "ckpt")
    facts = look(path)
    assert "nothing saved of 12 steps" in as_text(facts)
    assert "has no checkpoint" in facts["weights"]["encoder"]["problem"]


def test_deleted_parent(workdir):
    # Catches orphans that vanish, or that end the listing.
    shutil.rmtree(workdir / "responses")
    facts = look(workdir)
    orphans = [key for key, run in facts["runs"].items() if run["missing"]]
    assert [key.split("/")[0] for key in orphans] == ["report", "steal", "steal"]
    text = as_text(facts)
    section = text[text.index("\nparent missing") :]
    assert section.count("  steal/") == 2 and section.count("    probe/stolen") == 2
    assert "lacks" in section and "responses/random-digits" in section
    facts = look(only(workdir, "steal", "direct-mse"))
    assert [n["problem"] for n in facts["lineage"]] == [None, "missing"]
    assert facts["weights"]["encoder"]["problem"] is None


def damage(path):
    """Flips the bits of a byte in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def test_damaged_weights(workdir):
    # Catches norms given for weights that are not those the run ended with, and a
    # damaged part that hides the others.
    path = only(workdir, "victim")
    folder = path / "ckpt" / "12" / "encoder"
    shutil.rmtree(folder)
    shutil.copytree(only(workdir, "steal", "direct-mse") / "ckpt/12/encoder", folder)
    facts = look(path)
    encoder, head = facts["weights"]["encoder"], facts["weights"]["head"]
    assert "the encoder's digest differs" in encoder["problem"]
    assert len(encoder["leaves"]) == 15 and encoder["leaves"][0]["norm"] is None
    assert head["problem"] is None and head["leaves"][0]["norm"] >= 0
    assert "! checkpoint" in as_text(facts) and "metrics" in as_text(facts)
    for file in folder.rglob("d/*"):
        damage(file)
    problem = look(path)["weights"]["encoder"]["problem"]
    assert "ckpt/12 is damaged" in problem and "\n" not in problem
    shutil.rmtree(folder)
    facts = look(path)
    assert "no encoder in it" in facts["weights"]["encoder"]["problem"]
    assert facts["weights"]["head"]["problem"] is None


@pytest.mark.parametrize("content", ["", "{", "[]", "\udcff"])
def test_damaged_meta(workdir, content):
    # Catches a listing or a page that ends at a broken file.
    path = only(workdir, "victim")
    (path / "meta.json").write_bytes(content.encode(errors="surrogateescape"))
    facts = look(path)
    assert facts["problem"].startswith("meta.json cannot be read")
    assert facts["finished"] is None and facts["what"]["objective"] == "simclr"
    assert facts["weights"]["encoder"]["problem"] is None
    assert "! meta.json cannot be read" in as_text(facts)
    text = as_text(look(workdir))
    section = text[text.index("\nunreadable") :]
    assert f"victim/{path.name}" in section and "    responses/" in section


@pytest.mark.parametrize(
    "changes",
    [
        {"parents": [1]},
        {"parents": {"encoder": "probe/../probe/."}},
        {"results": [{"accuracy": "high"}]},
        {"results": [{"accuracy": 1, "interval": [0]}]},
        {"results": 5},
        {"weights": 5},
        {"queries": "many"},
    ],
)
def test_meta_of_another_form(workdir, changes):
    # Catches tracebacks on JSON that is whole but not what was written.
    for stage in ("probe", "victim", "responses"):
        path = next((workdir / stage).iterdir())
        meta = json.loads((path / "meta.json").read_text())
        (path / "meta.json").write_text(json.dumps(meta | changes))
        (path / "config.json").write_text('{"data": 1, "steps": [], "encoder": "x"}')
        assert as_text(look(path)).startswith(f"{stage}/{path.name}\n")
    assert len(look(workdir)["runs"]) == 22
    assert as_text(look(workdir))


def test_damaged_ledger(workdir):
    # Catches a bill from a ledger that is not whole, or not the one paid.
    path = only(workdir, "responses")
    with sqlite3.connect(path / "ledger.sqlite") as db:
        db.execute("DELETE FROM answers WHERE rowid = 3")
    db.close()
    facts = look(path)
    assert set(facts["ledger"]) == {"problem"}
    assert "damaged" in facts["ledger"]["problem"]
    text = as_text(facts)
    assert "! ledger.sqlite is damaged" in text and "queries 300" in text
    (path / "ledger.sqlite").unlink()
    assert "nothing was asked" in look(path)["ledger"]["problem"]


@pytest.mark.parametrize("where", ["queries", "accounts"])
def test_a_bill_that_is_not_the_one_paid(workdir, where):
    # Catches a ledger put in another's place.
    path = only(workdir, "responses")
    meta = json.loads((path / "meta.json").read_text())
    (meta[where] if where == "queries" else meta[where]["attacker"])["images"] = 299
    (path / "meta.json").write_text(json.dumps(meta))
    facts = look(path)
    assert facts["ledger"]["used"] == 300
    assert facts["ledger"]["problem"] == "ledger.sqlite is not what the run ended with"
    assert "used 300" in as_text(facts) and "! ledger.sqlite" in as_text(facts)


def test_neither_run_nor_workdir(experiment, tmp_path):
    # Catches an empty page in place of a message.
    for path in (tmp_path, experiment / "victim", tmp_path / "missing"):
        with pytest.raises(UserError):
            look(path)


def start(*args):
    return subprocess.run(
        [sys.executable, "-m", "sslx", "inspect", *map(str, args)],
        cwd=tiny.ROOT,
        capture_output=True,
        text=True,
    )


def test_on_the_command_line(workdir, tmp_path):
    # Catches a program that does not start, chatter of libraries, a wrong exit status,
    # JSON that differs from the text's facts.
    path = only(workdir, "victim")
    for file in (path / "ckpt" / "12" / "head").rglob("*"):
        if file.is_file():
            damage(file)
    done = start(path, "--json", "--depth", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == look(path, depth=1)
    done = start(workdir)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == as_text(look(workdir)) + "\n"
    done = start(tmp_path / "missing")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("sslx: ") and done.stderr.count("\n") == 1
