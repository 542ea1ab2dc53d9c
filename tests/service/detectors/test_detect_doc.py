"""docs/detect.md runs as it is written."""

import re
import shlex

import pytest

from sslx.cli import detect
from tests import tiny

DOC = tiny.ROOT / "docs" / "detect.md"


@pytest.mark.slow
def test_the_example(tmp_path, monkeypatch, capsys):
    # Catches an example that has fallen behind the code, and a table never measured.
    text = DOC.read_text()

    def blocks(kind):
        return re.findall(rf"^```{kind}\n(.*?)^```", text, re.DOTALL | re.M)

    (code,), command, (shown,) = blocks("python"), blocks("sh")[1], blocks("text")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, str(DOC), "exec"), {})
    words = shlex.split(command)
    assert words[:2] == ["sslx", "detect"]
    detect.main(words[2:])
    lines = capsys.readouterr().out.rstrip().splitlines()
    assert [x for x in lines if not x.startswith("user")] == shown.rstrip().splitlines()
