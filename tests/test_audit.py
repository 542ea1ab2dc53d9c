"""APIs as victims, docs/audit.md: victim.source."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sslx
from sslx import data
from sslx.cli import inspect
from sslx.cli.inspect_text import as_text
from sslx.embed import function
from sslx.experiment.graph import resolve
from sslx.program import run
from sslx.stages.answers import answered
from sslx.types import UserError
from tests import tiny

DOC = tiny.ROOT / "docs" / "audit.md"
QUICK = {
    k: v
    for k, v in tiny.SETTINGS.items()
    if k.split(".")[-1] not in ("queries", "grid")
}


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", DOC.read_text(), re.DOTALL | re.M)


def start(line, folder):
    """Runs a command of the document in a folder with its files, at a tiny size."""
    flags = [f"--config.{key}={value}" for key, value in QUICK.items()]
    words = shlex.split(line)
    assert words[:2] == ["python", "launch.py"]
    done = subprocess.run(
        [sys.executable, *words[1:3], *flags, *words[3:]],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    (path,) = re.findall(r"report: (.*)/report.md", done.stdout)
    return folder / path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working directory as the document has it; every call of the API is noted."""
    folder = tmp_path_factory.mktemp("place")
    for name in ("launch.py", "configs"):
        (folder / name).symlink_to(tiny.ROOT / name)
    note = "\n    open('sent', 'a').write(f'{len(images)}\\n')\n    spectrum ="
    function = blocks("python")[0]
    assert function.count("\n    spectrum =") == 1
    (folder / "myapi.py").write_text(function.replace("\n    spectrum =", note))
    return folder


@pytest.mark.slow  # three launches
def test_the_document(place, monkeypatch):
    # Catches commands that have fallen behind the code; queries, or images sent to the
    # API, that are not those the document promises.
    function, recording = blocks("python")
    by_function, by_file = blocks("sh")
    report = start(by_function, place)
    found = json.loads((report / "results.json").read_text())
    assert found["headline"] == next(iter(found["counters"]))
    bills = [tiny.bill(found, cell) for cell in found["counters"]]
    assert [b["images"] for b in bills] == [450, 90]
    assert [b["limit"] for b in bills] == [450, 90]
    assert bills[0]["values"] == 450 * 84
    whom = ["victim", "stolen", "stolen", "untrained", "untrained", "pixels"]
    assert tiny.roles(found) == whom
    sent = [int(n) for n in (place / "sent").read_text().split()]
    unique = sum(b["unique_images"] for b in bills)
    assert sum(sent) == 15 + unique + 4050 + 1341 + 500 and max(sent) == 256
    (place / "sent").unlink()
    assert start(by_function, place) == report  # again: nothing but who it is
    assert (place / "sent").read_text() == "8\n3\n3\n1\n"

    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(place)
    exec(compile(recording, str(DOC), "exec"), {})
    report = start(by_file, place)
    found = json.loads((report / "results.json").read_text())
    bill = tiny.bill(found, found["headline"])
    assert bill["images"] == bill["limit"] == 450
    (victim,) = (p for p in (place / "checkpoints/victim").glob("npz-84d-*"))
    images = data.load("digits", "test").images[:300]
    own = {}
    exec(function, own)
    want = own["embed"](images)
    for path in (victim, *(place / "checkpoints/victim").glob("python-*")):
        np.testing.assert_allclose(sslx.open_run(path).embed(images), want, atol=1e-6)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working directory, empty; what is imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    function.identify.cache_clear()


def recorded(path, images, d=6, change=None):
    """Writes answers that an image alone decides."""
    flat = images.reshape(len(images), -1)
    weights = np.random.default_rng(0).normal(size=(flat.shape[1], d))
    arrays = {"images": images, "embeddings": flat / 255 @ weights}
    np.savez(path, **(arrays | (change or {})))
    return f"npz:{path}"


def config(source, **changes):
    own = {"victim__source": source, "steal__queries": 64}
    if source.startswith("npz:"):
        own["steal__pool"] = "answered"
    return tiny.config(**(own | changes))


def test_a_recording_that_lacks_a_probes_images(tmp_path):
    # Catches test images for sale, a victim probed on a part of a set, a report that is
    # silent about it or does without the other rows, an image answered for another.
    train, test = (data.load("digits", split).images for split in ("train", "test"))
    source = recorded(tmp_path / "a.npz", np.concatenate([test[:100], train[:70]]))
    pool = len({image.tobytes() for image in train[:70]})
    c = config(source, steal__queries=pool)
    report = run(c, tmp_path / "runs")
    experiment = resolve(c, tmp_path / "runs")
    found = answered(experiment.thefts[0].responses, experiment.context)
    images, answers = found.images, found.answers[:, 0]
    sent = {image.tobytes() for image in images}
    assert sent == {image.tobytes() for image in train[:70]}
    victim = sslx.open_run(experiment.members[0].victim.path)
    assert np.array_equal(victim.embed(images), answers)
    flat = images.reshape(len(images), -1) / 255
    weights = np.random.default_rng(0).normal(size=(144, 6))
    np.testing.assert_allclose(answers, flat @ weights, rtol=1e-5, atol=1e-5)
    found = json.loads((report / "results.json").read_text())
    assert tiny.roles(found) == ["stolen", "untrained", "untrained", "pixels"]
    known = {image.tobytes() for image in [*test[:100], *train[:70]]}
    lacks = len({image.tobytes() for image in [*train, *test]} - known)
    for name in ("report.md", "report.html"):
        text = " ".join((report / name).read_text().split())
        assert f"not probed on digits: {lacks} of its images" in text
        assert "headline stealer's architecture" in text.replace("&#39;", "'")
    page = (report / "report.html").read_text()
    (bold,) = re.findall(r'class="headline">.*?</tr>', page, re.DOTALL)
    assert "stolen" in bold
    with pytest.raises(UserError, match=f"only {pool} images"):
        resolve(config(source, steal__queries=pool + 1), tmp_path)
    with pytest.raises(UserError, match="2 of 3 images are not among the 170"):
        victim.embed(np.concatenate([test[:1], 255 - test[:2]]))
    with pytest.raises(UserError, match="holds no encoder"):
        victim.variables()
    with pytest.raises(UserError, match="has no 'projection'"):
        victim.embed(images, output="projection")


def test_evaluated_alone(here):
    # Catches an untrained network where nobody has named one, and a page that cannot do
    # without: for an API that is probed, and for one that lacks the images.
    (here / "their_api.py").write_text(FUNCTION)
    some = data.load("digits", "train").images[:70]
    for source, who in (
        ("python:their_api:good", ["victim", "pixels"]),
        (recorded(here / "a.npz", some), ["pixels"]),
    ):
        folder = run(config(source, stages=("victim", "probe", "report")), here)
        found = json.loads((folder / "results.json").read_text())
        assert tiny.roles(found) == who
        for name in ("report.md", "report.html"):
            text = (folder / name).read_text()
            assert "Evaluation of an encoder API" in text
            assert "untrained" not in text and "stealer" not in text
            assert ("not probed on" in text) == ("victim" not in who)
            told = "Each start sends their_api:good some images more"
            assert (told in text) == source.startswith("python:")


def test_a_recording_is_its_content(tmp_path):
    # Catches a victim named after a file, and changed answers under an old name.
    images = data.load("digits", "train").images[:80]
    base = (
        resolve(config(recorded(tmp_path / "a.npz", images)), tmp_path)
        .members[0]
        .victim
    )
    same = config(recorded(tmp_path / "b.npz", images), seed=1, data__mean=(0.5,))
    assert resolve(same, tmp_path).members[0].victim == base
    twice = np.concatenate([images, images[:9]])
    again = config(recorded(tmp_path / "c.npz", twice))
    assert resolve(again, tmp_path).members[0].victim == base
    other = recorded(
        tmp_path / "d.npz", images, change={"embeddings": np.ones((80, 6))}
    )
    assert resolve(config(other), tmp_path).members[0].victim != base


IMAGES = np.random.default_rng(0).integers(0, 256, (80, 12, 12, 1), np.uint8)
GOOD = np.ones((80, 6))


@pytest.mark.parametrize(
    "change,expected",
    [
        ({"images": IMAGES.astype("f")}, "images must be uint8.*not float32"),
        ({"images": IMAGES[:, 0, 0]}, r"images must be uint8.*\(80, 1\)"),
        ({"images": IMAGES.reshape(80, 1, 12, 12)}, r"np\.moveaxis\(images, 1, -1\)"),
        ({"images": IMAGES[:0]}, "images is empty"),
        ({"embeddings": GOOD[:79]}, r"must be .* \(80, d\), not of shape \(79, 6\)"),
        ({"embeddings": GOOD[0]}, "not of shape"),
        ({"embeddings": GOOD.astype(int)}, "must be floating-point.*not int64"),
        ({"embeddings": GOOD * np.inf}, "80 of 80 hold NaN or infinite"),
        ({"embeddings": GOOD * 1e300}, "80 of 80 hold NaN or infinite"),
        ({"embeddings": np.array([{}] * 80)}, "is not a readable npz file"),
        (
            {"images": np.repeat(IMAGES[:40], 2, 0), "embeddings": np.eye(80)},
            "40 images a second time with another embedding",
        ),
    ],
)
def test_bad_recordings(tmp_path, change, expected):
    # Catches a file that fails in the middle of the attack, or answers wrongly.
    source = recorded(tmp_path / "a.npz", IMAGES, change=change)
    with pytest.raises(UserError, match=expected) as error:
        resolve(config(source), tmp_path / "runs")
    assert "\n" not in str(error.value)


def test_a_recording_needs_no_other_set(tmp_path):
    # Catches a set asked for that nobody will read.
    c = config(recorded(tmp_path / "a.npz", IMAGES), data__dir=str(tmp_path))
    c.victim.dataset = "cifar10"
    assert resolve(c, tmp_path / "runs").members[0].victim.recipe["origin"] == "npz"


def test_bad_sources(here):
    # Catches an unclear word on what was written, and a pool that nobody can answer.
    (here / "cut.npz").write_bytes(b"PK\3\4 and no more")
    np.savez(here / "half.npz", images=IMAGES)
    good = recorded(here / "a.npz", IMAGES)
    for source, changes, expected in (
        ("npz:nowhere.npz", {}, "no file nowhere.npz"),
        ("npz:", {}, "path after 'npz:'"),
        ("npz:cut.npz", {}, "cut.npz is not a readable npz file"),
        ("npz:half.npz", {}, "half.npz lacks embeddings"),
        (
            good,
            {"steal__pool": "held_out"},
            "write steal.pool='answered', not 'held_out'",
        ),
        (good, {"also": ("pool=test",)}, "'steal.pool=test'.*write steal.pool="),
        (good, {"data__size": 16}, "probe.datasets: 'digits' has images of shape"),
        (
            "http://x",
            {},
            "unknown victim.source 'http://x'; write shipped:NAME, npz:FILE or python:",
        ),
        ("python:", {}, "not of the form python:MODULE:FUNCTION"),
        ("python:nowhere:f", {}, "no module 'nowhere'.*working directory"),
        ("python:json:nothing", {}, "'json' has no function 'nothing'"),
    ):
        with pytest.raises(UserError, match=expected) as error:
            resolve(config(source, **changes), here / "runs")
        assert "\n" not in str(error.value)


FUNCTION = """
import numpy as np
def flat(x): return x.reshape(len(x), -1) / 255
def good(x): return flat(x)[:, :5]
def changed(x): return flat(x)[:, 1:6]
def int_(x): return x.reshape(len(x), -1)
def narrow(x): return flat(x)[:, 0]
def fewer(x): return flat(x)[1:]
def nan(x): return flat(x) * np.nan
def none(x): return None
def fails(x): raise ConnectionError("no\\nroute")
def leaves(x): raise SystemExit(3)
def wordy(x): raise ValueError("x" * 10_000)
def noisy(x): return np.random.normal(size=(len(x), 3))
def later(x):
    return flat(x)[:, :5] if len(x) <= 8 else flat(x)[:, :4]
"""


def test_bad_functions(here):
    # Catches a traceback, an answer of a wrong form that is taken, noise that makes
    # another victim at each start.
    (here / "their_api.py").write_text(FUNCTION)
    (here / "broken_api.py").write_text("import their_api\n1 / 0\n")
    (here / "needy_api.py").write_text("import not_installed_anywhere\n")
    for spec, expected in (
        ("their_api:int_", "floating-point of shape .8, d., not uint8 .8, 144."),
        ("their_api:narrow", r"not of shape \(8,\)"),
        ("their_api:fewer", r"not of shape \(7, 144\)"),
        ("their_api:nan", "8 of 8 hold NaN"),
        ("their_api:none", "not object"),
        (
            "their_api:fails",
            r"failed: ConnectionError: no route \(their_api.py, line 11\)",
        ),
        ("their_api:leaves", "failed: SystemExit: 3"),
        ("their_api:wordy", r"failed: ValueError: x{180,190} \("),
        ("their_api:noisy", "answers the same images differently, by .*npz:FILE"),
        ("their_api:np", "has no function 'np'"),
        ("broken_api:f", r"importing broken_api failed: ZeroDivisionError.*line 2\)"),
        ("needy_api:f", "importing needy_api failed.*No module named 'not_installed"),
    ):
        with pytest.raises(UserError, match=expected) as error:
            resolve(config(f"python:{spec}"), here / "runs")
        assert "\n" not in str(error.value)
    # What only later answers wrongly is refused then, and not counted.
    c = config("python:their_api:later", stages=("victim", "steal"))
    with pytest.raises(UserError, match=r"\(64, 5\), not of shape \(64, 4\)"):
        run(c, here / "runs")


BY_THE_CALL = """
import numpy as np
calls = []
def flat(x): return (x.reshape(len(x), -1) / 255).astype(np.float32)[:, :9]
def batch_norm(x): return (flat(x) - flat(x).mean(0)) / (flat(x).std(0) + 1e-5)
def a_little(x): return flat(x) + 0.05 * flat(x).mean(0)
def by_place(x): return flat(x) + np.arange(len(x))[:, None] / 20
def by_size(x): return flat(x) * np.float32(1 + len(x) / 99)
def of_the_first(x): return flat(x) - flat(x[:1])
def sorted_(x): return flat(x)[np.argsort(flat(x)[:, 0])]
def twin(x): return flat(np.roll(x, 1, 0)) + flat(x)
def counts(x):
    calls.append(1)
    return flat(x) + len(calls)
def dropout(x): return flat(x) * np.random.binomial(1, 0.5, flat(x).shape)
def brightest(x): return flat(x) / flat(x).max()
def range_(x): return (flat(x) - flat(x).min()) / (flat(x).max() - flat(x).min())
def seeded(x): return flat(x) + np.random.default_rng(0).normal(size=flat(x).shape)
def squeezed(x): return flat(x).squeeze()
"""
HONEST = """
import numpy as np
def flat(x): return (x.reshape(len(x), -1) / 255).astype(np.float32)[:, :9]
def plain(x): return flat(x)
def half(x): return (flat(x) * (1 + 5e-4 * (len(x) % 3))).astype(np.float16)
def single(x): return flat(x) * np.float32(1 + 1e-6 * len(x)) + 100
def constant(x): return np.ones((len(x), 3))
def zero(x): return np.zeros((len(x), 3), np.float32)
def unit(x): return flat(x) / np.linalg.norm(flat(x), axis=1, keepdims=True)
"""


def test_functions_that_answer_by_the_call(here):
    # Catches statistics of the batch, order, size, padding, counts and chance passed,
    # which the same call sent twice does not show; and rounding taken for them.
    (here / "by_the_call.py").write_text(BY_THE_CALL)
    (here / "honest.py").write_text(HONEST)
    for name in re.findall(r"^def (\w+)", BY_THE_CALL, re.M)[1:]:
        with pytest.raises(UserError) as error:
            function.identify(f"by_the_call:{name}", (8, 8, 1))
        told = str(error.value)
        assert told.startswith(f"victim.source: by_the_call:{name}"), told
        assert "\n" not in told and ("answers" in told)
        by_chance = name in ("counts", "dropout")
        assert ("answers the same images differently" in told) == by_chance
        assert ("model.eval()" in told) == (not by_chance and name != "squeezed")
    for name in re.findall(r"^def (\w+)", HONEST, re.M):
        function.identify(f"honest:{name}", (8, 8, 1))


def test_the_check_is_counted_and_may_be_left_out(here, capsys, monkeypatch):
    # Catches images sent that nobody is told of, a count that forgets earlier starts,
    # a check that runs although it was ruled out, and answers of a wrong width then.
    note = "open('sent', 'a').write(f'{len(x)}\\n'); "
    (here / "their_api.py").write_text(
        FUNCTION.replace("def good(x): ", f"def good(x): {note}")
    )
    c = config("python:their_api:good", stages=("victim",))
    for starts in (1, 2, 3):
        function.identify.cache_clear()
        run(c, here / "runs")
        assert capsys.readouterr().err.count("is asked 15 images of noise") == 1
        path = resolve(c, here / "runs").members[0].victim.path
        counted = json.loads((path / "meta.json").read_text())["self_check"]
        assert counted == {"images": 15 * starts, "starts": starts}
        assert (here / "sent").read_text() == "8\n3\n3\n1\n" * starts
        assert inspect.look(path)["self_check"] == counted
        assert "images 45" in as_text(inspect.look(path)) or starts < 3

    def refused(*_, **__):
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as m:
        m.setattr("sslx.stages.victim.write_meta", refused)
        run(c, here / "runs")
    assert "is not counted (Read-only file system)" in capsys.readouterr().err
    (here / "sent").unlink()
    function.identify.cache_clear()
    c.service.self_check = False
    with pytest.raises(UserError, match="numbers python:their_api:good .* victim.dim"):
        resolve(c, here / "runs")
    c.victim.dim = 5
    run(c, here / "runs")
    assert "nothing checks" in capsys.readouterr().err
    victim = resolve(c, here / "runs").members[0].victim
    assert victim.path != path and victim.recipe["answers"] is None
    assert "self_check" not in json.loads((victim.path / "meta.json").read_text())
    images = np.zeros((3, 12, 12, 1), np.uint8)
    assert sslx.open_run(victim.path).embed(images).shape == (3, 5)
    assert (here / "sent").read_text() == "3\n"
    c.victim.dim = 6
    wrong = resolve(c, here / "runs").members[0].victim
    assert wrong != victim
    c.service.self_check = True
    with pytest.raises(UserError, match="victim.dim is 6, but .*good answers with 5"):
        resolve(c, here / "runs")
    c.victim.dim = -1
    with pytest.raises(UserError, match="victim.dim must be 0 or more, not -1"):
        resolve(c, here / "runs")


def test_a_function_that_changes(here):
    # Catches an old victim's answers taken for a new one's, and two functions of one
    # module taken for one.
    file = here / "moving_api.py"
    file.write_text(FUNCTION)
    victim = resolve(config("python:moving_api:good"), here).members[0].victim
    assert (
        resolve(config("python:moving_api:good", seed=1), here).members[0].victim
        == victim
    )
    assert (
        resolve(config("python:moving_api:changed"), here).members[0].victim != victim
    )
    run(config("python:moving_api:good", stages=("victim",)), here)
    images = np.zeros((3, 12, 12, 1), np.uint8) + 51
    answers = sslx.open_run(victim.path).embed(images)
    assert np.array_equal(answers, np.full((3, 5), 0.2, np.float32))
    with pytest.raises(UserError, match="uint8 array of shape"):
        sslx.open_run(victim.path).embed(images[:, :5])
    file.write_text(FUNCTION.replace(":5]", ":5] + 1"))
    del sys.modules["moving_api"]
    function.identify.cache_clear()
    with pytest.raises(UserError, match="answers otherwise than when"):
        sslx.open_run(victim.path).embed(images)
    assert resolve(config("python:moving_api:good"), here).members[0].victim != victim


def test_one_line_at_the_end(tmp_path):
    # Catches a traceback of the user's function on the command line.
    (tmp_path / "x.npz").write_bytes(b"")
    flags = {"victim.source": f"npz:{tmp_path / 'x.npz'}", "steal.pool": "answered"}
    done = tiny.launch(tmp_path / "runs", settings=tiny.SETTINGS | flags)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1 and line.startswith("sslx: ")
    assert "not a readable npz file" in line and not Path(tmp_path / "runs").exists()
