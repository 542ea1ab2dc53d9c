"""A disk that fills up at any moment costs a line, and nothing that was computed."""

import json
import shlex
import shutil
import subprocess

import pytest

from tests import tiny

ROOM = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs"]


def can_mount(folder):
    if not shutil.which("unshare"):
        return False
    command = ["unshare", "-Urm", *ROOM, str(folder)]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.slow  # a launch for each size
def test_a_disk_that_fills_up(experiment, tmp_path):
    # Catches tracebacks of Orbax's and TensorBoard's threads over our line, exit
    # status 0, and a run that cannot be taken up once there is room: at the first
    # file, in each checkpoint, in features, the ledger, the report.
    if not can_mount(tmp_path):
        pytest.skip("no user namespaces to mount a small disk in")
    command = tiny.command(tmp_path / "w", "--config.engine.cpu_devices=8")
    log = shlex.quote(str(tmp_path.parent / "log"))
    sizes = (8, 200, 900, 1700, 2400, 3600, 4300)
    script = f"""
        {shlex.join(ROOM)} {shlex.quote(str(tmp_path))} || exit 9
        for size in {" ".join(map(str, (*sizes, 20000)))}; do
            mount -o remount,size=${{size}}k {shlex.quote(str(tmp_path))} || exit 8
            {shlex.join(command)} > /dev/null 2> {log}
            echo "$? $(grep -c Traceback {log}) $(tail -n 1 {log})"
        done
        cat {shlex.quote(str(tmp_path / "w"))}/steal/*/meta.json
    """
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script],
        cwd=tiny.ROOT,
        capture_output=True,
        text=True,
        timeout=900,
    )
    lines = done.stdout.splitlines()
    told, last, meta = lines[: len(sizes)], lines[len(sizes)], lines[len(sizes) + 1 :]
    full = [line for line in told if not line.startswith("0 0 ")]
    assert len(full) >= 4 and last.startswith("0 0 "), done.stdout + done.stderr
    for line in full:
        assert line.startswith("1 0 sslx: "), line
        assert "No space left on device: /" in line or "disk is full" in line, line
    (there,) = experiment.glob("steal/direct-mse-*/meta.json")
    assert json.loads("".join(meta)) == json.loads(there.read_text())
