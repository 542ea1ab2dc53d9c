import importlib
import inspect
import json
import zlib
from pathlib import Path

import jax
import numpy as np
import pytest

from configs import default, digits_attack
from sslx import data
from sslx.attacks.matching import make_match
from sslx.build import make_head, make_objective, make_theft
from sslx.embed import shipped
from sslx.experiment import graph
from sslx.experiment.overrides import changed, combinations
from sslx.models import make_encoder, to_torch
from sslx.objectives import OBJECTIVES
from sslx.stages.training import make_training
from sslx.train.step import init_state, make_update
from sslx.types import UserError

FILES = sorted(
    p.stem
    for p in Path(default.__file__).parent.glob("*.py")
    if p.stem not in ("default", "__init__")
)


TRACED: set[str] = set()


def load(name):
    return importlib.import_module(f"configs.{name}")


@pytest.fixture
def any_set(monkeypatch):
    """Stands in for sets that are not at hand: CIFAR's shapes, no content."""
    known, known_ids, known_marks = data.describe, data.ids, data.marks

    def describe(name, options=None):
        if name in data.SOURCES:
            return known(name)
        large = name.startswith("imagenet")
        sizes = {"train": 1_281_167 if large else 50_000, "test": 10_000}
        side = (options.size if options else 0) or 32
        classes = 1000 if large else 10
        return data.Info({"fake": name}, name, (side, side, 3), classes, sizes)

    def ids(name, split, options=None):
        if name in data.SOURCES:
            return known_ids(name, split)
        return np.arange(describe(name).sizes[split])

    def marks(name, split, options=None):
        if name in data.SOURCES:
            return known_marks(name, split)
        first = zlib.crc32(f"{name} {split}".encode()) << 24  # no image twice
        return first + ids(name, split)

    def labels_of(name, split, options=None):
        return ids(name, split) % describe(name, options).classes

    monkeypatch.setattr(data, "labels_of", labels_of)
    monkeypatch.setattr(data, "copies", lambda *_: {})
    monkeypatch.setattr(data, "find", lambda name, options=None: None)
    monkeypatch.setattr(data, "describe", describe)
    monkeypatch.setattr(data, "ids", ids)
    monkeypatch.setattr(data, "marks", marks)
    unseen = marks("cifar10", "train")[:10_000]
    monkeypatch.setattr(shipped, "unseen", lambda name: unseen)


def leaves(section, prefix=""):
    for key, value in section.items():
        if hasattr(value, "items"):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


# Whose steps are traced quickly, too: the study's own, and all attacks.
QUICK = {"cifar_direct", "digits_attack"}


@pytest.mark.parametrize("name", FILES)
def test_config_resolves(name, any_set, tmp_path):
    # Catches a dangling name, a block that does not fit its function.
    module = load(name)
    config = module.get_config()
    assert config.is_locked
    assert set(leaves(config)) == set(leaves(default.get_config()))
    text = module.__doc__
    for word in ("Command: python launch.py", "Time:", "Expected:"):
        assert word in text
    if name.startswith("victim_"):
        assert "Published:" in text
    assert f"configs/{name}.py" in text
    assert members(config, tmp_path)


# Whose thefts are trained on other numbers of views, each as its authors have it.
AS_GIVEN = {"cifar_rda", "cifar_stolen_encoder", "cifar_warm_start", "study_cifar_full"}
SIZES = [
    (f, size)
    for f in FILES
    for size in ([], ["cpu"])
    if not size or "size" in inspect.signature(load(f).get_config).parameters
    # Others have one theft, or cifar_direct.py's.
    if f != "import_torch" and load(f).get_config(*size).study.grid
]


@pytest.mark.parametrize("name, size", SIZES)
def test_thefts_of_one_table_are_trained_alike(name, size, any_set, tmp_path):
    # Catches a config whose thefts are told apart by how long they are trained; one
    # that says it means it and does not.
    config = load(name).get_config(*size)
    # Seeds and networks are trained alike; the ends of the budgets will do.
    apart = {"seed", "steal.seed", "victim.encoder", "steal.encoder"}
    budgets = {"steal.queries", "steal.pool"}
    grid = [axis[:1] if keys(axis) <= apart else axis for axis in config.study.grid]
    grid = [(axis[0], axis[-1]) if keys(axis) <= budgets else axis for axis in grid]
    config.study.grid = tuple(grid)
    config.probe.datasets = config.probe.datasets[:1]
    config.probe.independent = 0
    meant = config.study.passes == "as given"
    assert meant == (name in AS_GIVEN and not size)
    config.study.passes = "equal"
    if meant:
        with pytest.raises(UserError, match="trained unequally"):
            graph.resolve(config, tmp_path)
    else:
        graph.resolve(config, tmp_path)


def keys(axis):
    """Those that an axis of a grid changes."""
    return {pair.partition("=")[0] for change in axis for pair in change.split()}


@pytest.mark.parametrize(
    "name",
    [pytest.param(f, marks=[] if f in QUICK else pytest.mark.slow) for f in FILES],
)
def test_config_traces_at_full_size(name, any_set, tmp_path):
    # Catches a step that cannot be traced at the size the config asks for.
    config = load(name).get_config()
    for member in members(config, tmp_path):
        if not (config.victim.weights or config.victim.source):
            trace(member.victim, make_objective(member.victim.recipe))
        if member.theft:
            trace_theft(member.theft)


def members(config, tmp_path):
    """The experiments of a config: of a grid, its sides."""
    if config.victim.weights:
        config.victim.weights = weights(config.victim, tmp_path / "weights.npz")
    return [one(config, c, tmp_path).members[0] for c in sides(config.study.grid)]


def one(config, change, workdir):
    """The experiment of one combination of a grid alone."""
    alone, _ = changed(config, change)
    alone.study.grid = ()
    return graph.resolve(alone, workdir)


def sides(grid):
    """Each change of each axis of a study, with the first of the other axes."""
    first = [axis[0] for axis in grid]
    changes = [" ".join(first)]
    for i, axis in enumerate(grid):
        changes += [" ".join([*first[:i], c, *first[i + 1 :]]) for c in axis[1:]]
    return changes


def weights(section, path):
    """A file of PyTorch weights of the encoder that a section names, all zero."""
    kw = section.encoder_kw[section.encoder].to_dict()
    encoder = make_encoder(section.encoder, **kw)
    params, stats = zeros(encoder.init, np.zeros((1, 64, 64, 3), np.float32))
    names = to_torch(section.encoder, params, stats, stem=kw["stem"])
    np.savez_compressed(path, **names)
    return str(path)


def zeros(init, *args):
    """What an init would give, at the cost of its shapes alone."""
    shapes = jax.eval_shape(init, jax.random.key(0), *args)
    return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)


def trace_theft(theft):
    """Traces the first step of all that a theft trains."""
    if theft.responses is None:
        trace(theft.steal, make_objective(theft.steal.recipe))
        return
    before = theft.steal.parents
    for choosing in (before, theft.responses.parents):
        if "ssl" in choosing:
            trace(choosing["ssl"], make_objective(choosing["ssl"].recipe))
    r, asked = theft.steal.recipe, theft.responses.recipe
    shape, given = (asked["views"], asked["dim"]), {}
    if theft.loss != "own":
        given["match"] = make_match(r["loss"], r["numbers"], np.zeros((2, *shape)))
    if "head" in before:
        head = make_head(before["head"].recipe, asked["dim"])
        trace(before["head"], head, shape)
        params, stats, _ = zeros(head.init, {"answers": np.zeros((2, *shape))})
        stats = stats.get("projector", {})
        given["head"] = {"params": params["projector"], "stats": stats}
    if "ssl" in before:
        encoder = make_encoder(r["encoder"]["name"], **r["encoder"]["kw"])
        params, stats = zeros(encoder.init, np.zeros((1, *r["image_shape"])))
        given["trunk"] = {"params": params, "stats": stats}
    trace(theft.steal, make_theft(r, asked["dim"], asked["classes"], **given), shape)


def trace(run, objective, answers=(1, 1)):
    """Traces the first step of a run; ``answers``: views and width of the answers.

    Once for all configs that train alike.
    """
    r = run.recipe
    apart = {"seed", "steps", "data", "held_out", "split_seed", "pool", "split"}
    key = json.dumps([answers, {k: v for k, v in r.items() if k not in apart}])
    if key in TRACED:
        return
    TRACED.add(key)
    t = make_training(run, objective, {})
    b, image = r["batch_size"], r["image_shape"]
    entries = {
        "images": jax.ShapeDtypeStruct((b, *image), np.uint8),
        "asked": jax.ShapeDtypeStruct((b, answers[0], *image), np.uint8),
        "labels": jax.ShapeDtypeStruct((b,), np.int32),
        "answers": jax.ShapeDtypeStruct((b, *answers), np.float32),
    }
    batch = {name: entries[name] for name in objective.uses}

    def first_step(batch):
        state = init_state(t.objective, t.optimiser, t.seed, batch)
        update = make_update(t.objective, t.optimiser, t.schedule)
        return update(state, t.seed, batch)

    _, metrics = jax.eval_shape(first_step, batch)
    assert metrics["loss"].shape == ()


def test_the_studys_numbers():
    # Catches a recipe that drifts from the study's sheet.
    c = load("cifar_direct").get_config()
    assert (c.victim.encoder, c.victim.epochs, c.victim.batch_size) == (
        "resnet34",
        200,
        256,
    )
    assert c.victim.objective_kw.simclr.temperature == 0.07
    assert (c.victim.optim.name, c.victim.optim.learning_rate) == ("adam", 3e-4)
    assert (c.steal.queries, c.steal.loss, c.steal.epochs) == (9000, "softnn", 100)
    assert c.steal.loss_kw.softnn.temperature == 100.0
    assert (c.steal.batch_size, c.steal.optim.learning_rate) == (256, 1e-3)
    others = [changed(c, change)[0].steal for change in combinations(c.study.grid)]
    numbers = [(o.loss, o.batch_size, o.optim.learning_rate) for o in others]
    assert numbers == [("softnn", 256, 1e-3), ("mse", 64, 1e-3), ("infonce", 256, 3e-4)]
    assert (c.data.size, c.data.channels) == (32, 3)
    assert set(c.probe.datasets) == {
        "cifar10",
        "cifar100",
        "fashion_mnist",
        "stl10",
        "svhn_cropped",
    }


# Theft of study_cifar_full.py, by loss or attack -> optimiser, rate, decay, batch and
# steps: the study's and the authors'; 100 epochs of 9,000 images, or of RDA's 900.
FULL = {
    "mse": ("adam", 1e-3, 1e-4, 64, 14_000),
    "infonce": ("adam", 3e-4, 1e-4, 256, 3_500),
    "softnn": ("adam", 1e-3, 1e-4, 256, 3_500),
    "wasserstein": ("adam", 1e-3, 1e-4, 64, 14_000),
    "barlow": ("adam", 1e-3, 1e-4, 256, 3_500),
    "soft_cross_entropy": ("adam", 1e-3, 1e-4, 64, 14_000),
    "stolen_encoder": ("sgd", 0.064, 5e-4, 64, 14_000),
    "cont_steal": ("adam", 3e-4, 1e-4, 32, 28_100),
    "rda": ("adam", 1e-3, 1e-4, 100, 900),
    "warm_start": ("adam", 1e-3, 1e-4, 64, 14_000),
    "ssl_only": ("adam", 3e-4, 1e-4, 256, 7_800),
}


def asked(size, at, workdir):
    """Combinations of study_cifar_full.py, and the thefts of those with ``at``."""
    config = load("study_cifar_full").get_config(size)
    config.probe.datasets = ("cifar10",)
    config.probe.independent = 0
    changes = combinations(config.study.grid)
    chosen = [c for c in changes if set(at) <= set(c.split())]
    return changes, [one(config, c, workdir).thefts[0] for c in chosen]


def test_the_full_study(any_set, tmp_path):
    # Catches a loss that trains for less than the others, numbers that drift from the
    # sheets or from each attack's own config, a grid that grows, victims that differ.
    at = ["victim.encoder=resnet18", "steal.seed=0", "steal.queries=9000"]
    changes, thefts = asked("full", at, tmp_path)
    assert len(changes) == 462
    # At another budget, too, where steps left to epochs would be others.
    thefts += asked("full", [*at[:2], "steal.queries=50000"], tmp_path)[1]
    numbers, pools = {}, {}
    for theft in thefts:
        r, name = theft.steal.recipe, theft.attack
        name = theft.loss if name == "direct" else name
        o = r["optim"]
        told = (o["name"], o["learning_rate"], o["weight_decay"])
        numbers.setdefault(name, set()).add((*told, r["batch_size"], r["steps"]))
        pools.setdefault(name, set()).add(theft.steal.name)
        assert r["encoder"]["kw"]["dtype"] == "bfloat16"
        if name == "warm_start":  # in CIFAR-100 as in the held-out images
            assert theft.steal.parents["ssl"].recipe["steps"] == 7_800
    assert numbers == {name: {row} for name, row in FULL.items()}
    # Held out and CIFAR-100 at 9,000, CIFAR-100 at 50,000.
    assert {name: len(names) for name, names in pools.items()} == {
        name: 2 if name == "ssl_only" else 3 for name in FULL
    }
    for attack in ("stolen_encoder", "cont_steal", "rda"):
        own = load(f"cifar_{attack}").get_config().steal
        row = (own.optim.name, own.optim.learning_rate, own.optim.weight_decay)
        assert (*row, own.batch_size) == FULL[attack][:4]
    # ssl_only asks nothing: another budget is no other run.
    at = [*at[:2], "steal.attack=ssl_only"]
    _, alone = asked("full", at, tmp_path)
    assert len(alone) == 7
    assert {theft.steal.name for theft in alone} == pools["ssl_only"]
    # The core is a part of it, victim and all.
    changes, core = asked("core", ["steal.seed=0"], tmp_path)
    assert (len(changes), len(core)) == (15, 5)
    assert {c.steal.name for c in core} <= {c.steal.name for c in thefts}


# solo-learn's README and recipes: optimiser, rate, decay, projector, Acc@1.
SOLO_LEARN = {
    "simclr": ("larc", 0.4, 1e-4, 2048, 256, "90.74"),
    "simsiam": ("sgd", 0.5, 1e-5, 2048, 2048, "90.51"),
    "barlow": ("larc", 0.3, 1e-4, 2048, 2048, "92.10"),
    "byol": ("larc", 1.0, 1e-5, 4096, 256, "92.58"),
    "vicreg": ("larc", 0.3, 1e-4, 2048, 2048, "92.07"),
    "moco": ("sgd", 0.3, 1e-4, 2048, 256, "92.94"),
}


@pytest.mark.parametrize("method", SOLO_LEARN)
def test_solo_learns_numbers(method):
    # Catches a recipe that drifts from the published one that its figure belongs to.
    name, rate, decay, hidden, projection, figure = SOLO_LEARN[method]
    module = load(f"victim_{method}_cifar")
    assert f"solo-learn {figure} %" in module.__doc__
    v = module.get_config().victim
    assert (v.optim.name, v.optim.learning_rate) == (name, rate)
    assert (v.optim.weight_decay, v.optim.learning_rate_per_256) == (decay, True)
    assert (v.objective, v.augment) == (method, f"{method}_cifar")
    kw = v.objective_kw[method]
    assert (kw.hidden, kw.projection) == (hidden, projection)
    assert (v.encoder, v.encoder_kw.resnet18.stem) == ("resnet18", "cifar")
    assert (v.epochs, v.batch_size, v.optim.warmup_steps) == (1000, 256, 1950)
    assert module.get_config().data.held_out == 0


def test_every_method_on_two_cores(any_set, tmp_path):
    # Catches a method that the comparison lacks, or numbers that do not fit one.
    module = load("victim_cpu")
    assert set(module.METHODS) == set(OBJECTIVES)
    for method in module.METHODS:
        found = graph.resolve(module.get_config(method), tmp_path)
        assert found.members[0].victim.recipe["objective"] == method
        assert (found.members[0].victim.recipe["steps"], found.thefts) == (500, [])


def test_misspelt_keys_are_refused():
    # Catches a config that takes any key.
    with pytest.raises(AttributeError, match="queriez"):
        load("digits_direct").get_config().steal.queriez = 3


# What chose no setting of its own: it has those of another, or they are published.
BORROWED = {"access_head", "cont_steal_released"}


def test_attacks_run_with_settings_that_were_tried(tmp_path):
    # Catches a rate or a batch that config and choice write down differently: with
    # nothing held back, each run is one of those that were compared.
    tried = load("choose_digits").get_config()
    tried.steal.held_back.share = 0.0
    runs = {m.theft.steal.name for m in graph.resolve(tried, tmp_path).members}
    for attack in digits_attack.ATTACKS.keys() - BORROWED:
        (theft,) = graph.resolve(digits_attack.get_config(attack), tmp_path).thefts
        assert theft.steal.name in runs, attack
