"""PyTorch weights as a victim: configs/import_torch.py and victim.weights."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

import sslx
from configs import import_torch
from sslx import data
from sslx.cli.export import export
from sslx.cli.inspect import look
from sslx.experiment.graph import resolve
from sslx.models import make_encoder, to_torch
from sslx.program import run
from sslx.stages import victim
from sslx.types import UserError
from tests import tiny

KW = {"stem": "cifar", "width": 8}
SHAPE = (12, 12, 1)


def network(seed=0, shape=SHAPE):
    """A ResNet-18 with running statistics that are not those it starts with."""
    encoder = make_encoder("resnet18", **KW)
    params, stats = encoder.init(jax.random.key(seed), np.zeros((1, *shape), "f"))
    random = np.random.default_rng(seed)
    stats = jax.tree_util.tree_map_with_path(
        lambda path, s: (
            random.uniform(0.5, 1.5, s.shape).astype(np.float32)
            - (path[-1].key == "mean")
        ),
        stats,
    )
    return encoder, params, stats


def write(path, seed=0, shape=SHAPE):
    _, params, stats = network(seed, shape)
    arrays = to_torch("resnet18", params, stats, stem="cifar")
    arrays = {f"module.{name}": array for name, array in arrays.items()}
    arrays["module.fc.weight"] = np.zeros((10, 64), np.float32)
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        save_file(arrays, path)
    return str(path)


def config(weights, **changes):
    own = {
        "victim__weights": weights,
        "victim__encoder": "resnet18",
        "victim__encoder_kw__resnet18__width": 8,
        "data__mean": (0.3,),
        "data__std": (0.4,),
    }
    return tiny.config(**(own | changes))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write(tmp_path_factory.mktemp("weights") / "w.safetensors")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module")
def report(weights, workdir):
    return run(config(weights), workdir)


def figures(row):
    """A row without what a theft beside it decides."""
    keys = ("dataset", "role", "evaluator", "accuracy", "interval", "n_test", "seeds")
    return {key: row[key] for key in keys}


def files(workdir):
    return {p: p.stat().st_mtime_ns for p in workdir.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_served_stolen_and_probed(report, weights, workdir):
    # Catches other weights or another normalisation than those given, a head taken
    # for the encoder's, a query too many, a row or a warning that is missing.
    experiment = resolve(config(weights), workdir)
    assert experiment.members[0].victim.name.startswith("weights-resnet18-")
    opened = sslx.open_run(experiment.members[0].victim.path)
    assert opened.meta["finished"] and opened.parents == {}
    assert (opened.meta["mean"], opened.meta["std"]) == ([0.3], [0.4])
    assert set(opened.variables()) == {"encoder"}
    encoder, params, stats = network()
    images = data.load("digits", "test").images[:40]
    normal = (images.astype(np.float32) / 255 - 0.3) / 0.4
    want, _ = encoder.apply(params, stats, normal, False)
    assert np.std(want) > 0.01
    np.testing.assert_allclose(opened.embed(images), want, rtol=1e-5, atol=1e-5)
    found = json.loads((report / "results.json").read_text())
    bill = tiny.bill(found, found["headline"])
    assert bill["images"] == bill["unique_images"] == 300
    assert bill["values"] == 300 * 64
    assert tiny.roles(found) == ["victim", "stolen", "untrained", "untrained", "pixels"]
    for name in ("report.md", "report.html"):
        text = " ".join((report / name).read_text().split())
        assert "extraction of an imported encoder" in text
        assert "What the victim was trained on is not known here" in text


@pytest.mark.slow
def test_evaluated_alone(weights, workdir, report, tmp_path):
    # Catches an evaluation that needs a theft, another untrained network than the
    # victim's own, curves of a training that there was none of.
    folder = run(config(weights, stages=("victim", "probe", "report")), tmp_path)
    stages = {"victim", "features", "probe", "fidelity", "gallery", "report"}
    assert {p.name for p in tmp_path.iterdir()} == stages
    assert folder.name.startswith("weights-resnet18-")
    found, stolen = (
        json.loads((path / "results.json").read_text()) for path in (folder, report)
    )
    assert (found["counters"], found["headline"]) == ({}, None)
    rest = [figures(row) for row in stolen["rows"] if row["role"] != "stolen"]
    assert [figures(row) for row in found["rows"]] == rest
    assert not (folder / "curves.png").exists()
    for name in ("report.md", "report.html"):
        text = " ".join((folder / name).read_text().split()).lower()
        assert "evaluation of an imported encoder" in text
        assert "made of pytorch weights" in text and "may have seen images of" in text
        for word in ("stealer", "extraction of", "attacker's", ">training<", ">bill<"):
            assert word not in text


@pytest.mark.slow
def test_inspected_and_exported(report, weights, workdir, tmp_path):
    # Catches a run that only its own stage can read.
    path = resolve(config(weights), workdir).members[0].victim.path
    facts = look(path)
    assert (facts["finished"], facts["step"], facts["problem"]) == (True, 0, None)
    assert facts["what"]["origin"] == "weights" and "metrics" not in facts
    part = facts["weights"]["encoder"]
    assert part["problem"] is None and facts["weights"].keys() == {"encoder"}
    arrays = export(path, tmp_path / "out.safetensors")
    _, params, stats = network()
    kernel = np.asarray(params["stem_conv"]["kernel"])
    assert np.array_equal(arrays["params/stem_conv/kernel"], kernel)
    sizes = sum(x.size for x in jax.tree.leaves((params, stats)))
    assert sum(row["count"] for row in part["total"]) == sizes


@pytest.mark.slow
def test_again_does_nothing(report, weights, workdir, tmp_path):
    # Catches a fingerprint made from the path or the kind of the file.
    before = files(workdir)
    assert run(config(weights), workdir) == report
    assert run(config(write(tmp_path / "other.npz")), workdir) == report
    assert files(workdir) == before


@pytest.mark.slow
def test_what_makes_another_victim(report, weights, workdir, tmp_path):
    # Catches new weights under an old run's name; and a victim that is made anew
    # because of what is only the attacker's.
    base = resolve(config(weights), workdir).members[0].victim
    changed = write(tmp_path / "w.safetensors", seed=1)
    assert resolve(config(changed), workdir).members[0].victim != base
    assert (
        resolve(config(weights, data__mean=(0.2,)), workdir).members[0].victim != base
    )
    for same in ({"seed": 1}, {"data__held_out": 0.2}, {"victim__steps": 5}):
        assert resolve(config(weights, **same), workdir).members[0].victim == base
    # The whole training split: nobody knows what the victim was trained on.
    c = config(weights, steal__pool="digits", steal__queries=4050)
    assert resolve(c, workdir).members[0].victim == base


@pytest.mark.slow
def test_one_network_of_several(tmp_path, capsys):
    # Catches a part that is not in the run's name, is not what is made, is not told,
    # or is looked for in a file whose name has a #.
    both = {}
    for seed, name in ((0, "student"), (1, "teacher")):
        _, params, stats = network(seed)
        tree = to_torch("resnet18", params, stats, stem="cifar")
        both |= {f"{name}.backbone.{n}": x for n, x in tree.items()}
    path, odd = tmp_path / "both.npz", tmp_path / "run#3.npz"
    np.savez(path, **both)
    np.savez(odd, **both)
    runs = tmp_path / "runs"

    def victim_of(file):
        return resolve(config(str(file)), runs).members[0].victim

    student = victim_of(path)
    assert victim_of(write(tmp_path / "0.npz", 0)) == student
    assert victim_of(odd) == victim_of(f"{odd}#student") == student
    teacher = victim_of(f"{path}#teacher")
    assert teacher != student and victim_of(write(tmp_path / "1.npz", 1)) == teacher
    run(config(f"{path}#teacher", stages=("victim",)), runs)
    assert "took resnet18 from teacher.backbone; left out" in capsys.readouterr().err
    _, params, stats = network(1)
    kernel = sslx.open_run(teacher.path).variables()["encoder"]["params"]["stem_conv"]
    assert np.array_equal(kernel["kernel"], params["stem_conv"]["kernel"])
    for part, expected in (("pupil", "no network under 'pupil'"), ("", "after '#'")):
        with pytest.raises(UserError, match=expected) as error:
            victim_of(f"{path}#{part}")
        assert "\n" not in str(error.value)


def test_weights_that_change_while_they_are_read(weights, workdir, tmp_path):
    # Catches weights stored under the name of others.
    path = tmp_path / "w.npz"
    c = config(write(path), stages=("victim",))
    experiment = resolve(c, tmp_path / "runs")
    write(path, seed=1)
    with pytest.raises(UserError, match="changed meanwhile"):
        victim.make(experiment.members[0].victim, experiment.context)
    meta = json.loads((experiment.members[0].victim.path / "meta.json").read_text())
    assert not meta["finished"]


def test_killed_between_save_and_end(weights, tmp_path, monkeypatch):
    # Catches a second save of the same step, which the store refuses.
    c = config(weights, stages=("victim",))
    with monkeypatch.context() as m:
        m.setattr(victim.checkpoint, "seal", lambda path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(c, tmp_path)
    run(c, tmp_path)
    path = resolve(c, tmp_path).members[0].victim.path
    assert sslx.open_run(path).embed(np.zeros((1, *SHAPE), np.uint8)).shape == (1, 64)


@pytest.mark.parametrize(
    "changes,expected",
    [
        ({"victim__weights": "/nowhere.npz"}, "no file of weights /nowhere.npz"),
        (
            {"victim__encoder": "conv3"},
            "encoder with PyTorch names 'conv3'; known: res",
        ),
        (
            {"victim__encoder": "resnet34"},
            "w.safetensors: not weights of resnet34.*these are weights of resnet18",
        ),
        (
            {"victim__encoder_kw__resnet18__stem": "imagenet"},
            "these are weights of resnet18 with stem 'cifar' and width 8",
        ),
        ({"victim__encoder_kw__resnet18__width": 16}, "with stem 'cifar' and width 8"),
        ({"data__channels": 3}, "images of 1 channels.*'digits' have 3.*channels=1"),
        ({"victim__source": "python:a:b"}, "victim.weights and victim.source are two"),
        ({"service__output": "projection"}, "needs a victim that was trained here"),
        ({"data__std": (0.0,)}, "data.std.* must be above 0"),
        ({"data__held_out": 2.0}, "held_out must lie between"),
        ({"steal__pool": "answered"}, "needs victim.source='npz:FILE'"),
    ],
)
def test_bad_settings(weights, tmp_path, changes, expected):
    # Catches a mistake that is found after the run has begun.
    with pytest.raises(UserError, match=expected) as error:
        resolve(config(weights, **changes), tmp_path)
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


def test_bad_files_on_the_command_line(weights, tmp_path):
    # Catches tracebacks, and anything begun.
    whole = Path(weights).read_bytes()
    for name, content, expected in (
        (
            "cut.safetensors",
            whole[: len(whole) // 2],
            "not a readable safetensors file",
        ),
        ("x.bin", b"<!doctype html>", "is a web page; download it again"),
    ):
        (tmp_path / name).write_bytes(content)
        flags = {"victim.weights": str(tmp_path / name), "victim.encoder": "resnet18"}
        done = tiny.launch(tmp_path / "runs", settings=tiny.SETTINGS | flags)
        (line,) = done.stderr.splitlines()
        assert done.returncode == 1 and line.startswith("sslx: ")
        assert expected in line and not (tmp_path / "runs").exists()


def test_the_config_file(tmp_path, monkeypatch):
    # Catches a config that does not resolve at its own size, or that trains a victim
    # where no weights are named.
    c = import_torch.get_config()
    sizes = {"train": 50_000, "test": 10_000}
    images = data.Info({"fake": 1}, "fake", (32, 32, 3), 10, sizes)
    monkeypatch.setattr(data, "find", lambda *_: None)
    monkeypatch.setattr(data, "describe", lambda *_: images)
    monkeypatch.setattr(data, "ids", lambda *_: np.arange(50_000))
    monkeypatch.setattr(data, "labels_of", lambda _, s, __: np.arange(sizes[s]) % 10)
    monkeypatch.setattr(data, "copies", lambda *_: {})
    start = {"train": 0, "test": 10**6}
    monkeypatch.setattr(data, "marks", lambda _, s, __: start[s] + np.arange(sizes[s]))
    with pytest.raises(UserError, match="no file of weights FILE"):
        resolve(c, tmp_path)
    encoder = make_encoder("resnet18", stem="cifar")
    trees = jax.eval_shape(encoder.init, jax.random.key(0), np.zeros((1, 32, 32, 3)))
    params, stats = jax.tree.map(lambda x: np.ones(x.shape, np.float32), trees)
    path = tmp_path / "w.npz"
    np.savez(path, **to_torch("resnet18", params, stats, stem="cifar"))
    c.victim.weights = str(path)
    found = resolve(c, tmp_path)
    assert found.members[0].victim.recipe["encoder"]["kw"]["width"] == 64
    assert found.thefts[0].responses.recipe["queries"] == 9000
