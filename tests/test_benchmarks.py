import importlib
import json
import sys
from pathlib import Path

import pytest

import benchmarks.record
from benchmarks import against_torch, growth, steps, turns
from benchmarks.turns import Ratio, Timed, times_as_fast

FOLDER = Path(benchmarks.record.__file__).parent
PARSED = (
    "against_torch",
    "augment_cost",
    "defence_figures",
    "defences",
    "floor",
    "growth",
    "parts",
    "victim",
)
NEED_TORCH = ("equality", "torch_augment", "torch_simclr")
REST = sorted(path.stem for path in FOLDER.glob("*.py"))


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


def test_parts_measured_apart():
    # Catches an older measurement drawn for a newer one, sizes that are text.
    def line(part, seconds):
        return json.dumps({"rows": [{"part": part, "curve": "c", "seconds": seconds}]})

    lines = [line("a", {"1": [9.0]}), line("b", {"1": [2.0]}), line("a", {"1": [1.0]})]
    assert growth.recorded(lines) == {"a": {"c": {1: [1.0]}}, "b": {"c": {1: [2.0]}}}


def timed(*rounds):
    return Timed([list(each) for each in rounds], [1.0] * len(rounds), 0)


def test_ratios_are_of_rounds():
    # Catches a machine that slows down between rounds, taken for a faster way; and a
    # ratio upside down.
    base, fast = timed([2, 2, 2], [8, 8, 8]), timed([1, 1, 9], [4, 4, 4])
    assert times_as_fast(fast, base) == Ratio(2, 2, 2)
    assert str(times_as_fast(timed([1], [8]), base)) == "1.50 (1.00 to 2.00)"


def test_a_way_that_fails(monkeypatch):
    # Catches a ratio to another way than the one its column names.
    def ask(settings, python, env):
        if settings["seconds"] is None:
            raise RuntimeError("out of memory")
        return {"seconds": [settings["seconds"]], "first": 1.0, "peak_bytes": 0}

    monkeypatch.setattr(turns, "ask", ask)

    def rows(*seconds):
        names = ["plain", "channels_last", "JAX"]
        pairs = zip(names, seconds, strict=True)
        ways = [turns.Way(name, {"seconds": s}) for name, s in pairs]
        return against_torch.compared(names, 2, turns.in_turn(ways, 2))

    whole = rows(4.0, 2.0, 1.0)[2]
    assert (whole["of_plain_torch"].median, whole["of_best_torch"].median) == (4, 2)
    plain, last, ours = rows(None, 2.0, 1.0)
    assert plain == {"way": "plain", "failed": True}
    assert last["of_plain_torch"] is ours["of_plain_torch"] is None
    assert ours["of_best_torch"] is None


def test_operations_and_the_accelerators_loop(monkeypatch):
    # Catches operations of one device or of one view taken for the step's; and a loop
    # of an accelerator that does not run.
    config = steps.make_config("conv3", batch_size=16, width=4)
    training = steps.training_of(steps.victim_recipe(config, plain=True))
    here = steps.make_stepper(training)
    layers = 32**2 * 27 * 4 + 16**2 * 36 * 8 + 8**2 * 72 * 16
    forward = 2 * 32 * layers  # two operations a multiplication, 32 views
    first = 2 * 32 * 32**2 * 27 * 4  # has no gradient to its input
    assert here.flops() == pytest.approx(3 * forward - first, rel=0.1)
    monkeypatch.setattr(steps, "on_cpu", lambda: False)
    there = steps.make_stepper(training, per_dispatch=2)
    assert there.steps == 2
    there.call()


def test_every_defence_is_timed(monkeypatch, capsys):
    # Catches a defence that is timed after no past, or left out without a word.
    from benchmarks import defences
    from sslx.service import DEFENCES

    monkeypatch.setattr(sys, "argv", ["defences", "--tiny"])
    defences.main()
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line.split(" | ")[0][2:] for line in lines] == list(DEFENCES)
    assert all(line.count(" | ") == 2 and line.count("(") == 2 for line in lines)


def test_a_long_past_is_asked_in_calls_that_none_refuses():
    # Catches a defence that limits a call and has no figures for it.
    from benchmarks import defences

    args = defences.parse(["--tiny"])
    args.past = [400]
    row = defences.timed("proof_of_work", args)
    assert "not" not in row and len(row["seconds"]["400"]) == 1


@pytest.mark.slow  # trains and evaluates one
def test_a_victim_is_timed(tmp_path, monkeypatch, capsys):
    # Catches a clock that the stage does not hear, accuracies of other looks, a trial
    # that is recorded, seconds of a rest passed off as those of the whole.
    from benchmarks import victim
    from sslx.stages import training
    from sslx.train import checkpoint, mesh

    loops = []
    monkeypatch.setattr(mesh, "start", lambda **given: None)  # the tests' own has run
    fit = training.fit
    monkeypatch.setattr(
        training,
        "fit",
        lambda t, run, loop, watch: loops.append(loop) or fit(t, run, loop, watch),
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
        assert line[0] == f"| {epoch}" and row["step"] == 28 * epoch
        assert line[2] == f"{100 * row['knn']:.1f}"
    assert float(lines[0][1]) < float(lines[1][1]) < float(lines[2][1])
    assert not (tmp_path / "results").exists()
    # All dispatches alike, and no save where there is no look.
    (loop,) = loops
    assert loop.steps_per_dispatch == 14 and loop.save_every % 28 == 0
    assert checkpoint.steps(watched.parent) == [84]
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
