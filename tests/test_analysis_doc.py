import re

from tests import tiny

DOC = tiny.ROOT / "docs" / "analysis.md"


def test_snippets_run_as_written(experiment, tmp_path, monkeypatch, capsys):
    # Catches a snippet that has fallen behind the code; and a copy that is not compared
    # with its victim (the features of a tiny run are alike, but not the same).
    (tmp_path / "checkpoints").symlink_to(experiment)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", DOC.read_text(), re.DOTALL | re.M)
    assert len(blocks) == 9
    names = {}
    for block in blocks:
        exec(compile(block, str(DOC), "exec"), names)
    out = capsys.readouterr().out
    assert 0.2 < names["cosine"].mean() < 0.9999
    assert 0.1 < names["linear_cka"](names["a"], names["b"]) < 0.9999
    assert names["linear_cka"](names["a"], names["a"]) > 0.9999
    assert 0.05 < names["overlap"] < 1
    assert "linear CKA: 0." in out
