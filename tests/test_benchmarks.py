import importlib
import json
import sys
from pathlib import Path

import pytest

import benchmarks.record

FOLDER = Path(benchmarks.record.__file__).parent
PARSED = ("against_torch", "augment_cost", "floor", "growth", "parts", "together")
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
    assert module.parse(["--tiny"]).rounds == 1


def test_record_names_no_place(tmp_path, monkeypatch):
    # Catches paths of a machine in a file that is committed.
    monkeypatch.setattr(benchmarks.record, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["/a/benchmarks/x.py", "--python", "/b/python"])
    benchmarks.record.record("x", [{"seconds": [1.0]}], accelerator="")
    text = (tmp_path / "x.jsonl").read_text()
    assert json.loads(text)["command"] == "python -m benchmarks.x --python PATH"
    assert "/a" not in text and "/b" not in text


def test_pytorch_step_is_ours():
    # Catches a PyTorch step that does other work than the one it is compared with.
    pytest.importorskip("torch")
    from benchmarks.equality import steps_differ, views_differ

    assert views_differ("mild", size=12, channels=1) < 1e-5
    assert views_differ("simclr", size=16, channels=3) < 1e-5
    assert steps_differ("default", width=4, batch_size=8) < 1e-6
    assert steps_differ("resnet18", width=2, batch_size=8) < 1e-6
