import importlib
import json
import sys
from pathlib import Path

import pytest

import benchmarks.record

FOLDER = Path(benchmarks.record.__file__).parent
PARSED = (
    "against_torch",
    "augment_cost",
    "floor",
    "growth",
    "parts",
    "together",
    "victim",
)
NEED_TORCH = ("equality", "torch_augment", "torch_simclr")
REST = sorted(
    path.stem for path in FOLDER.glob("*.py") if path.stem not in ("__init__",)
)


@pytest.mark.parametrize("name", REST)
def test_imports(name):
    # Catches a benchmark left behind by a change of what it times.
    if name in NEED_TORCH:
        pytest.importorskip("torch")
    module = importlib.import_module(f"benchmarks.{name}")
    assert module.__doc__


@pytest.mark.parametrize("name", PARSED)
def test_help_and_trial(name, capsys):
    # Catches a help text that argparse cannot format, a trial that is none.
    module = importlib.import_module(f"benchmarks.{name}")
    with pytest.raises(SystemExit) as end:
        module.parse(["--help"])
    assert end.value.code == 0
    assert "--tiny" in capsys.readouterr().out
    # A victim is trained once, and asks for no rounds.
    assert getattr(module.parse(["--tiny"]), "rounds", 1) == 1


def test_record_names_no_place(tmp_path, monkeypatch):
    # Catches paths of a machine in a file that is committed.
    monkeypatch.setattr(benchmarks.record, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["/a/benchmarks/x.py", "--python", "/b/python"])
    benchmarks.record.record("x", [{"seconds": [1.0]}], accelerator="")
    text = (tmp_path / "x.jsonl").read_text()
    assert json.loads(text)["command"] == "python -m benchmarks.x --python PATH"
    assert "/a" not in text and "/b" not in text


def test_a_victim_is_timed(tmp_path, monkeypatch, capsys):
    # Catches a clock that the stage does not hear, accuracies of other looks, a trial
    # that is recorded, seconds of a rest passed off as those of the whole.
    from benchmarks import victim
    from sslx.engine import checkpoint, mesh
    from sslx.stages.train import make_loop

    loops = []
    monkeypatch.setattr(mesh, "start", lambda **given: None)  # the tests' own has run
    monkeypatch.setattr(
        "sslx.stages.victim.make_loop",
        lambda config: loops.append(make_loop(config)) or loops[-1],
    )
    monkeypatch.setattr(benchmarks.record, "RESULTS", tmp_path / "results")
    words = ["victim", "--tiny", "--workdir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", words)
    victim.main()
    printed = capsys.readouterr().out
    (watched,) = tmp_path.glob("victim/*/watch.jsonl")
    seen = [json.loads(line) for line in watched.read_text().splitlines()]
    lines = [line.split(" | ") for line in printed.splitlines()[2:5]]
    for epoch, (line, row) in enumerate(zip(lines, seen, strict=True), 1):
        assert line[0] == f"| {epoch}" and row["step"] == 21 * epoch
        assert line[2] == f"{100 * row['knn']:.1f}"
    assert float(lines[0][1]) < float(lines[1][1]) < float(lines[2][1])
    assert not (tmp_path / "results").exists()
    # All dispatches alike, and no save where there is no look.
    (loop,) = loops
    assert loop.steps_per_dispatch == 7 and loop.save_every % 21 == 0
    assert checkpoint.steps(watched.parent) == [63]
    with pytest.raises(SystemExit, match="is finished; give another --workdir"):
        victim.main()


def test_shares_of_a_victims_time():
    # Catches a compile time counted as training, looks counted twice, steps before a
    # run was taken up counted as its own.
    from benchmarks import victim

    looks = [
        victim.Look(200, 15.0, 17.0, {}),
        victim.Look(300, 22.0, 23.0, {}),
        victim.Look(400, 28.0, 29.0, {}),
    ]
    found = victim.shares(victim.Timed(looks, 100, 50, 8, 31.0))
    assert found == {
        "training": 15.0,
        "start": 10.0,
        "looks": 4.0,
        "rest": 2.0,
        "in all": 31.0,
        "images per second": 160.0,
    }
    assert victim.dispatch(20, 1950, 39_000) == 15
    assert victim.dispatch(20, 1560, 31_200) == 20


def test_pytorch_step_is_ours():
    # Catches a PyTorch step that does other work than the one it is compared with.
    pytest.importorskip("torch")
    from benchmarks.equality import steps_differ, views_differ

    assert views_differ("mild", size=12, channels=1) < 1e-5
    assert views_differ("simclr", size=16, channels=3) < 1e-5
    assert steps_differ("default", width=4, batch_size=8) < 1e-6
    assert steps_differ("resnet18", width=2, batch_size=8) < 1e-6
