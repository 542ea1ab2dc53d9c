"""What a user sees who got something wrong: one line, and nothing lost."""

import re
import shlex
import shutil
import sqlite3
import subprocess
from contextlib import closing

import pytest

from sslx.experiment.graph import resolve
from sslx.program import run
from sslx.types import UserError
from tests import tiny

OUT = "--config.stages=('victim',)"


def message(workdir, *more, code=None, **kw):
    """The one line that the program ends with; log lines of runs before it aside."""
    done = tiny.launch(workdir, *more, **kw)
    lines = [
        line
        for line in done.stderr.splitlines()
        if line.strip() and not re.match(r"\[\w+\] |.*?\d+%\|", line)
    ]
    assert len(lines) == 1, done.stderr
    assert done.returncode == code if code else done.returncode > 0
    assert "report:" not in done.stdout
    return lines[0]


@pytest.mark.parametrize(
    "flags,expected",
    [
        (["--config.victm.steps=3"], "victm"),
        (["--config.steal.queries=many"], "invalid literal for int.*'many'"),
        (["--config.steal.queries=1.5"], "invalid literal for int.*'1.5'"),
        (["stray"], "unexpected 'stray'"),
        (["--nonsense"], "nonsense"),
        (
            ["--config.steal.loss=mze"],
            "unknown loss 'mze'; known: barlow.* infonce.* mse",
        ),
        (["--config.steal.queries=1351"], "1351.*only 1350"),
        (["--config.victim.dataset=npz:/nowhere.npz"], "no file /nowhere.npz"),
    ],
)
def test_bad_flags(tmp_path, flags, expected):
    # Catches tracebacks, help texts and library warnings in place of one line.
    line = message(tmp_path / "w", *flags)
    assert line.startswith("sslx: ") and re.search(expected, line), line
    assert not (tmp_path / "w").exists()  # said before anything was begun


@pytest.mark.parametrize(
    "changes,expected",
    [
        ({"victim.encoder": "vgg"}, "unknown encoder 'vgg'; known: conv3"),
        (
            {"victim.encoder": "resnet18", "victim.encoder_kw.resnet18.stem": "x"},
            "unknown stem 'x'; known: cifar, imagenet",
        ),
        ({"victim.objective": "x"}, "unknown objective 'x'; known: barlow"),
        ({"steal.attack": "x"}, "unknown attack 'x'; known: access_head"),
        ({"victim.augment": "x"}, "unknown augmentation preset 'x'; known: barlow"),
        (
            {"victim.augment": "none"},
            "'simclr' takes 2 view.*'none' makes 1; choose another preset",
        ),
        (
            {"victim.optim.name": "lars", "victim.optim.trust_coefficient": 0.0},
            "above 0",
        ),
        ({"victim.optim.warmup_steps": 12}, "warmup_steps is 12, .* only 12 steps"),
        (
            {
                "victim.objective": "supervised",
                "victim.augment": "supervised",
                "service.output": "projection",
            },
            "'supervised' has no projection head",
        ),
        (
            {
                "victim.objective": "byol",
                "victim.augment": "byol_cifar",
                "victim.objective_kw.byol.decay": 1.5,
            },
            "byol.decay must be 1 at most",
        ),
        ({"victim.dataset": "cifra10"}, "'cifra10'; did you mean 'cifar10'"),
        ({"victim.optim.name": "x"}, "unknown optimiser 'x'; known: adam"),
        ({"service.defence": "x"}, "unknown defence 'x'; known: b4b"),
        (
            {"service.output": "x"},
            "unknown service.output 'x'; known: label.* projection",
        ),
        ({"stages": ("steel",)}, "unknown stage 'steel'; known: victim"),
        (
            {"service.image_limit": 5},
            "image_limit is 5.*plan of 300 queries needs 300 images",
        ),
        ({"also": ("los=mse",)}, "'steal.los=mse' is not KEY=VALUE"),
        ({"also": ("queries=x",)}, "'steal.queries=x' is not of type int"),
        ({"data.held_out": 1.5}, "held_out must lie between 0 and 1"),
        ({"steal.pool": "test", "steal.test_kept": 0.0}, "test_kept must lie"),
        ({"data.std": (0.0,)}, "data.std.* must be above 0"),
        ({"data.mean": (0.0, 0.0)}, "data.mean must hold 1 number"),
        ({"victim.batch_size": 0}, "victim.batch_size must be above 0"),
        ({"probe.l2_grid": ()}, "l2_grid entries must be above 0"),
        ({"probe.l2_grid": (0.0,)}, "l2_grid.0. must be above 0"),
        ({"probe.knn_k": 5000}, "knn_k is 5000.*only 4050"),
        ({"data.held_out": 0.9999}, "number of images to train on must be above 0"),
        ({"steal.loss": "infonce", "steal.loss_kw.infonce.temperature": 0.0}, "temper"),
        ({"probe.datasets": (5,)}, "probe.datasets must hold names, not 5"),
        ({"data.mean": (float("nan"),)}, "data.mean must hold numbers, not nan"),
        ({"data.split_seed": -1}, "split_seed must be 0 or more"),
        ({"data.split_seed": "x"}, "split_seed must be a whole number, not 'x'"),
        ({"data.size": -1}, "data.size must be 0 or more"),
        ({"data.channels": 2}, "data.channels must be 0, 1 or 3"),
        (
            {"data.held_out": 0.0},
            "what data.held_out leaves the attacker, and that is 0",
        ),
        ({"victim.encoder_kw.conv3.width": 0}, "encoder conv3.width must be above 0"),
        ({"probe.datasets": ("digits", "digits")}, "names a set twice"),
        ({"steal.pool": "test", "steal.test_kept": 0.001}, "kept must be above 0"),
        ({"steal.pool": "digits"}, "is what the victim was trained on"),
        ({"probe.knn_temperature": 0.0}, "knn_temperature must be above 0"),
        ({"service.image_limit": 0}, "image_limit is 0"),
        ({"also": ("queries=True",)}, "'steal.queries=True' is not of type int"),
        ({"precision": "float16"}, "float32 or bfloat16"),
        ({"seed": -1}, "seed must be 0 or more"),
    ],
)
def test_bad_settings(tmp_path, changes, expected):
    # Catches a setting that fails only after an hour of training.
    with pytest.raises(UserError, match=expected) as error:
        resolve(tiny.config(**changes), tmp_path)
    assert "\n" not in str(error.value)


def test_config_files(tmp_path):
    # Catches ml_collections' own listing of all the places it looked in.
    none = {"settings": {}}
    assert "--config=configs/" in message(tmp_path, config=None, **none)
    line = message(tmp_path, config="configs/nowhere.py", **none)
    assert "no config file 'configs/nowhere.py'" in line
    broken = tmp_path / "broken.py"
    broken.write_text("def get_config():\n    return undefined\n")
    assert "undefined" in message(tmp_path, config=broken, **none)
    broken.write_text("x = 1\n")
    assert "get_config" in message(tmp_path, config=broken, **none)


def test_workdir_under_a_file(tmp_path):
    # Catches a traceback of mkdir.
    (tmp_path / "file").write_text("")
    line = message(tmp_path / "file" / "w", OUT)
    assert "file/w" in line and "a file is in the place of a folder" in line


@pytest.mark.slow  # a launch each
@pytest.mark.parametrize(
    "env,expected",
    [
        ({"JAX_ENABLE_X64": "maybe"}, "invalid truth value 'maybe'.*JAX_ENABLE_X64"),
        ({"JAX_DEFAULT_PRNG_IMPL": "dice"}, "dice.*jax_default_prng_impl"),
        ({"FLAX_FIX_RNG_SEPARATOR": "si"}, "'si'.*FLAX_FIX_RNG_SEPARATOR"),
        ({"JAX_PLATFORMS": "cuda"}, "no device to run on.*JAX_PLATFORMS asks for it"),
        ({"XLA_FLAGS": "--xla_cpu_enable_fast_math=true"}, "XLA_FLAGS has --xla_cpu"),
        ({"NVIDIA_TF32_OVERRIDE": "0"}, "unset it and start again"),
    ],
)
def test_what_a_shell_may_not_set(tmp_path, env, expected):
    # Catches a traceback of an import, and results that differ under one name.
    line = message(tmp_path / "w", OUT, env=env)
    assert re.search(expected, line), line
    assert not (tmp_path / "w").exists()


@pytest.mark.slow  # quick: tests/train/test_fit.py
def test_nan_loss(tmp_path):
    # Catches a run that goes on with weights that are no numbers.
    line = message(
        tmp_path,
        "--config.victim.optim.learning_rate=1e30",
        "--config.victim.optim.name=sgd",
        OUT,
    )
    assert re.search(r"step \d+: the loss is (nan|inf)", line), line


@pytest.fixture
def workdir(experiment, tmp_path):
    """A finished experiment, to be damaged."""
    return shutil.copytree(experiment, tmp_path / "w")


@pytest.mark.slow  # a launch each
@pytest.mark.parametrize(
    "tail,code,told",
    [("| true", 141, 0), ("2>&1 | true", 141, 0), ("> /dev/full", 1, 1)],
)
def test_output_that_nobody_takes(workdir, tail, code, told):
    # Catches tracebacks at the end of all work, over a reader that has seen enough.
    program = shlex.join(tiny.command(workdir, "--config.engine.cpu_devices=8"))
    done = subprocess.run(
        ["bash", "-c", f"{program} {tail}; echo ${{PIPESTATUS[0]}}"],
        cwd=tiny.ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1] == str(code), done
    assert done.stderr.count("sslx: ") == told and "Traceback" not in done.stderr


def refused(workdir, **changes):
    """The line that a theft ends with which reads what is there."""
    with pytest.raises(UserError) as error:
        run(tiny.config(stages=("victim", "steal"), **changes), workdir)
    assert "\n" not in str(error.value)
    return str(error.value)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    path.write_bytes(content)


def flip_the_largest(folder):
    """In all of them: of a checkpoint's files some may be copies that nothing reads."""
    sizes = {p: p.stat().st_size for p in folder.rglob("*") if p.is_file()}
    for path, size in sizes.items():
        if 2 * size > max(sizes.values()):
            flip(path)


def only(workdir, stage):
    (path,) = (workdir / stage).iterdir()
    return path


def test_flipped_byte_in_the_weights(workdir):
    # Catches a service that answers with damaged weights.
    encoder = only(workdir, "victim") / "ckpt" / "12" / "encoder"
    flip_the_largest(encoder)
    line = message(workdir, "--config.steal.queries=299", "--config.stages=('steal',)")
    assert "damaged" in line


def test_truncated_checkpoint(workdir):
    # Catches the reader's traceback, and a run computed anew without a word.
    encoder = only(workdir, "victim") / "ckpt" / "12" / "encoder"
    for path in encoder.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    before = sorted(workdir.rglob("ckpt/*"))
    line = refused(workdir, steal__queries=299)
    assert re.search("damaged; delete .* to compute the run again", line)
    assert sorted(workdir.rglob("ckpt/*")) == before


def test_weights_of_another_step_or_run(workdir, tmp_path):
    # Catches a finished victim that answers from an earlier checkpoint, or from the
    # weights of another run of the same architecture.
    ckpt = only(workdir, "victim") / "ckpt"
    shutil.move(ckpt / "12", tmp_path / "12")
    assert (ckpt / "8").is_dir()
    assert "is damaged" in refused(workdir, steal__queries=299)
    shutil.copytree(ckpt / "8", ckpt / "12")
    assert "encoder's digest differs" in refused(workdir, steal__queries=299)


def test_flipped_byte_in_the_answers(workdir):
    # Catches a stealer trained on answers that the victim never gave.
    path = only(workdir, "responses") / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as db:
        ((answer,),) = db.execute("SELECT answer FROM answers LIMIT 1")
    content = bytearray(path.read_bytes())
    content[content.index(answer)] ^= 1
    path.write_bytes(content)
    line = refused(workdir, steal__loss="softnn")
    assert "ledger.sqlite is damaged" in line and "to ask again" in line


def test_checkpoint_of_another_architecture(workdir, tmp_path):
    # Catches weights loaded by position or by what names they share.
    other = tmp_path / "other"
    small = {"victim__encoder_kw__conv3__width": 4, "victim__watch_every": 0}
    run(tiny.config(stages=("victim",), **small), other)
    target = only(workdir, "victim") / "ckpt"
    shutil.rmtree(target)
    shutil.copytree(only(other, "victim") / "ckpt", target)
    line = refused(workdir, steal__queries=299)
    assert "does not fit the model" in line and "conv1/kernel" in line


@pytest.mark.slow  # three launches
def test_the_log_is_short(experiment, tmp_path):
    # Catches a line for each of the probes, a second launch that does not say what was
    # there, and no way to see the names.
    workdir = shutil.copytree(experiment, tmp_path / "w")
    smaller = ("--config.steal.queries=90",)
    log = tiny.launch(workdir, *smaller).stderr.splitlines()
    stages = ["responses", "steal", "features", "probe", "fidelity", "gallery"]
    told = [
        line for line in log if re.fullmatch(r"\[\w+\] \d+ runs? in [\d.]+ \w+", line)
    ]
    assert [line[1:].partition("]")[0] for line in told] == [*stages, "report"]
    assert log[0] == "[sslx] 11 of 18 runs are there" and len(log) <= 12
    done = tiny.launch(workdir, *smaller)
    assert done.stderr == "[sslx] all 18 runs are there\n"
    assert done.stdout.splitlines()[-1].startswith("report: ")
    done = tiny.launch(
        workdir,
        *smaller,
        "--config.steal.loss=infonce",
        "--config.stages=('steal',)",
        "--verbose",
    )
    named = r"\[steal\] direct-infonce-conv3-90q-s0-\w{10}: (started: direct|done in )"
    assert len(re.findall(named, done.stderr)) == 2
