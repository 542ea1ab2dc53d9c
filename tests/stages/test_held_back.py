"""What trains and what judges, on arrays made by hand and untrained weights."""

from contextlib import nullcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.context import Images
from sslx.embed.forward import embedder
from sslx.experiment.graph import resolve
from sslx.models import make_encoder
from sslx.queries.held_back import divided
from sslx.stages import held_back, steal
from sslx.stages.answers import Answered
from sslx.stages.held_back import Own
from sslx.train.step import State
from sslx.types import Objective, Out
from tests import tiny

N, SHARE, SHAPE = 60, 0.2, (12, 12, 1)
IDS = np.arange(N)  # of the pool
ROWS = np.random.default_rng(1).permutation(N)  # in the order asked
PARTS = divided(0, IDS, ROWS, SHARE)


def images(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (N, *SHAPE), np.uint8)


@pytest.fixture(autouse=True)
def pool(monkeypatch):
    found = Images(images, None, lambda: IDS)
    monkeypatch.setattr(held_back, "pool", lambda recipe, context: found)


def experiment(tmp_path, **changes):
    back = {"share": SHARE, "temperature": 0.2, "augment": "mild"}
    given = {"steal.queries": N, "steal.held_back": back}
    given |= {"steal.encoder_kw.conv3.width": 2, "steal.ssl.augment": "mild"}
    c = tiny.config(**given | changes)
    return resolve(c, tmp_path)


def run(tmp_path, **changes):
    return experiment(tmp_path, **changes).thefts[0].steal


def state(made, head=None):
    """Of a network that never trained, with a head where one is asked for."""
    meta = made.recipe["encoder"]
    encoder = make_encoder(meta["name"], **meta["kw"])
    params, stats = encoder.init(jax.random.key(0), jnp.zeros((1, *SHAPE)))
    params = {"encoder": params} | ({"head": head} if head else {})
    return State(0, params, {"encoder": stats}, {}, None)


def features(made, of, asked):
    trunk = {"params": of.params["encoder"], "stats": of.stats["encoder"]}
    how = {"mean": made.recipe["mean"], "std": made.recipe["std"]}
    embed = embedder(
        made.recipe["encoder"], {"encoder": trunk}, image_shape=SHAPE, **how
    )
    return embed(asked)


THEFTS = {
    "direct": {},
    "head": {
        "steal.attack": "recreate_head",
        "steal.loss": "infonce",
        "steal.ask_views": 2,
        "steal.queries": 2 * N,
        "steal.ask_augment": "mild",
    },
    "clusters": {
        "steal.loss": "supcon",
        "steal.loss_kw.supcon.labels": 3,
    },
    "alone": {"steal.attack": "ssl_only", "steal.loss": "own"},
}


@pytest.mark.parametrize("changes", THEFTS.values(), ids=THEFTS)
def test_what_is_held_back_trains_nothing(tmp_path, monkeypatch, changes):
    # Catches a held-back image, its answer or a cluster made with it in a training of
    # the stealer, of its head or of the attacker alone.
    made = run(tmp_path, **changes)
    context = experiment(tmp_path, **changes).context
    views = 1 + (changes == THEFTS["head"])
    asked = np.stack([images(1 + i) for i in range(views)], axis=1)[ROWS]
    answers = np.arange(N * views * 3, dtype=np.float32).reshape(N, views, 3)
    found = Answered(ROWS, images()[ROWS], asked, answers)
    trained = []
    monkeypatch.setattr(steal, "answered", lambda *_: found)
    monkeypatch.setattr(steal, "unanswered", lambda *_: (ROWS, images()[ROWS]))
    monkeypatch.setattr(steal, "working_on", lambda *_, **__: nullcontext(True))
    monkeypatch.setattr(steal, "head_of", lambda _: None)
    monkeypatch.setattr(
        steal,
        "train",
        lambda run, objective, arrays, context, judge: trained.append((arrays, judge)),
    )
    clusters = steal.cluster_labels

    def few(answers, *rest):
        assert len(answers) == len(PARTS.kept)
        return clusters(answers, *rest)

    monkeypatch.setattr(steal, "cluster_labels", few)
    for one in (*(r for k, r in made.parents.items() if k == "head"), made):
        one.path.mkdir(parents=True, exist_ok=True)
        steal.make(one, context)
    whole = found._asdict()
    for arrays, _ in trained:
        for name, array in arrays.items():
            if name == "labels":
                assert len(array) == len(PARTS.kept)
            else:
                np.testing.assert_array_equal(array, whole[name][PARTS.kept])
    assert len(PARTS.held) == SHARE * N
    # What the head makes is judged with the stealer.
    assert [judge is not None for _, judge in trained] == (
        [False, True] if views > 1 else [True]
    )


@pytest.mark.parametrize("views", [1, 3])
def test_answers_are_judged_where_nothing_was_trained(tmp_path, views):
    # Catches a criterion on the images that were trained on, one that fits its map on
    # what it judges, one of a single view, answers beside other images.
    more = {"steal.ask_views": 3, "steal.queries": 3 * N, "steal.ask_augment": "mild"}
    made = run(tmp_path, **(more if views > 1 else {}))
    asked = np.stack([images(i) for i in range(views)], axis=1)[ROWS]
    of = state(made)
    flat = features(made, of, asked.reshape(-1, *SHAPE)).reshape(N, views, -1)
    found = Answered(ROWS, images()[ROWS], asked, 3 * flat + 1)
    told = held_back.by_answers(made, found, IDS[ROWS], PARTS)(of)
    assert told["measure"] == "distance" and told["images"] == len(PARTS.held)
    assert told["value"] == pytest.approx(0, abs=1e-3)
    random = np.random.default_rng(0)
    for rows, low, high in ((PARTS.held, 0.5, 9), (PARTS.kept, 0.5, 99)):
        answers = found.answers.copy()
        answers[rows] = random.normal(size=answers[rows].shape) * answers.std()
        judge = held_back.by_answers(
            made, found._replace(answers=answers), IDS[ROWS], PARTS
        )
        assert low < judge(of)["value"] < high
    # Views whose mean is the image's: each by itself is far from it.
    if views > 1:
        moved = found.answers + np.array([5.0, 0.0, -5.0])[:, None] * answers.std()
        judge = held_back.by_answers(
            made, found._replace(answers=moved), IDS[ROWS], PARTS
        )
        assert judge(of)["value"] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    "attack, output", [("label_theft", "label"), ("knockoff", "probabilities")]
)
def test_classes_are_judged_by_the_stealers_classifier(tmp_path, attack, output):
    # Catches agreement on what was trained, with another classifier, or of numbers
    # that are no classes.
    made = run(
        tmp_path,
        **{"steal.attack": attack, "steal.loss": "own", "service.output": output},
    )
    random = np.random.default_rng(0)
    width = made.recipe["encoder"]["kw"]["width"] * 4
    wide = features(made, state(made), images()[:2]).shape[1]
    assert wide == width
    kernel = random.normal(size=(wide, 10)).astype("f4")
    of = state(made, {"dense1": {"kernel": kernel, "bias": np.zeros(10, "f4")}})
    asked = images()[ROWS][:, None]
    classes = (features(made, of, asked[:, 0]) @ kernel).argmax(1)
    for right in (PARTS.held, PARTS.kept, PARTS.held[::2]):
        told = (classes + 1) % 10
        told[right] = classes[right]
        answers = told[:, None, None].astype("f4")
        if output == "probabilities":
            answers = np.eye(10, dtype="f4")[told][:, None]
        found = Answered(ROWS, images()[ROWS], asked, answers)
        judged = held_back.by_answers(made, found, IDS[ROWS], PARTS)(of)
        assert judged["measure"] == "agreement"
        expected = np.isin(PARTS.held, right).mean()
        assert judged["value"] == pytest.approx(expected)


def test_own_loss_is_comparable(tmp_path, monkeypatch):
    # Catches a loss on what was trained on, at the temperature or on the views of the
    # training, and views that are drawn anew.
    def toy(recipe):
        def loss(params, stats, extras, batch, key):
            value = jnp.mean(batch["images"]) + jax.random.uniform(key)
            value += 100 * recipe["numbers"]["temperature"]
            value += 1000 * recipe["augment"][0]["crop_area"][0]
            return params["encoder"] * value, Out(stats, extras, {})

        return Objective(lambda *_: None, loss, lambda *_: {}, None, ("images",), 2)

    monkeypatch.setattr(held_back, "make_objective", toy)
    of = State(0, {"encoder": jnp.ones(())}, {}, {}, None)
    values = []
    for changes in (
        {},
        {"steal.ssl.augment": "simclr", "steal.seed": 3},
        {"steal.ssl.objective_kw.simclr.temperature": 0.5},
    ):
        changes |= {"steal.attack": "ssl_only", "steal.loss": "own"}
        made = run(tmp_path, **changes)
        found = Own(ROWS, images()[ROWS])
        values.append(held_back.by_own_loss(made, found, IDS[ROWS], PARTS)(of))
        for rows, same in ((PARTS.kept, True), (PARTS.held, False)):
            changed = found.images.copy()
            changed[rows] = images(9)[rows]
            again = held_back.by_own_loss(made, Own(ROWS, changed), IDS, PARTS)(of)
            assert (again == values[-1]) is same
    assert values[0] == values[1] == values[2]
    assert values[0]["measure"] == "simclr loss"
    mild = found.images[PARTS.held].mean() + 20 + 400
    assert values[0]["value"] == pytest.approx(mild + 0.5, abs=0.4)
