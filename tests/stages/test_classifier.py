"""The victim as a classifier; victims as small as they go."""

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy.special import log_softmax

from sslx import data
from sslx.data.splits import divide
from sslx.embed.classifier import FILE, answering
from sslx.embed.finished import open_run
from sslx.experiment.graph import resolve
from sslx.experiment.victims import classifier_run
from sslx.models import make_encoder, to_torch
from sslx.models.heads import make_mlp
from sslx.runs.files import read_json
from sslx.stages import classifier, victim
from sslx.train import checkpoint
from sslx.types import UserError
from tests import tiny

WITH_LABELS = {
    "victim__objective": "supervised",
    "victim__augment": "none",
    "victim__steps": 60,
    "victim__optim__learning_rate": 2e-2,
}


def made(workdir, **changes):
    """A config, its finished victim and classifier, and how they were made."""
    small = {"victim__steps": 8, "victim__watch_every": 0, "engine__save_every": 500}
    solver = {"service__classifier__l2_grid": (1e-2, 1e-1)}
    config = tiny.config(**small | solver | changes)
    config.stages = ("victim",)
    experiment = resolve(config, workdir)
    own, context = experiment.members[0].victim, experiment.context
    victim.make(own, context)
    run = classifier_run(config, own)
    classifier.make(run, context)
    return config, own, run, context


def held_out(config):
    """The attacker's rows of the training split."""
    d = config.data
    return divide(data.ids("digits", "train"), d.held_out, d.split_seed)[1]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module")
def probed(workdir):
    return made(workdir)


@pytest.fixture(scope="module")
def supervised(workdir):
    return made(workdir, **WITH_LABELS)


@pytest.fixture(scope="module")
def shown():
    return data.load("digits", "test")


def test_probabilities_of_the_probe(probed, shown):
    # Catches the standardiser left out or taken twice, weights transposed, logits sold
    # as probabilities, labels that are not the most probable class.
    own, run = (r.path for r in probed[1:3])
    p = answering(own, run, "probabilities")(shown.images)
    assert p.shape == (len(shown.images), 10) and p.dtype == np.float32
    assert p.min() >= 0
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-6)
    label = answering(own, run, "label")(shown.images)
    assert label.shape == (len(p), 1) and label.dtype == np.float32
    assert np.array_equal(label[:, 0], p.argmax(1))
    assert np.mean(label[:, 0] == shown.labels) > 0.2  # chance: 0.1


def test_the_classifier_is_the_linear_probe(probed, shown):
    # Catches another protocol than the probe's, and other rows than the victim's own.
    config, own, run, _ = probed
    split, ids = data.load("digits", "train"), data.ids("digits", "train")
    rows = np.setdiff1d(np.arange(len(ids)), held_out(config))
    embed = open_run(own.path).embed
    expected = classifier.linear_probe(
        embed(split.images[rows]),
        split.labels[rows],
        embed(shown.images),
        classes=10,
        l2_grid=(1e-2, 1e-1),
        validation_fraction=0.2,
        tolerance=1e-5,
        max_iterations=5000,
        seed=0,
        groups=ids[rows],
    )
    found = answering(own.path, run.path, "probabilities")(shown.images)
    assert np.array_equal(found.argmax(1), expected.predictions)
    meta = read_json(run.path / "meta.json")
    assert (meta["images"], meta["l2"]) == (len(rows), expected.l2)


def test_nothing_of_the_attacker_or_the_test_is_fitted(probed, workdir, monkeypatch):
    # Catches a victim that answers by the labels of the images it is asked about.
    config, own, _, context = probed
    seen = []

    def spied(path):
        opened = open_run(path)

        def embed(images):
            seen.extend(image.tobytes() for image in images)
            return opened.embed(images)

        return opened._replace(embed=embed)

    monkeypatch.setattr(classifier, "open_run", spied)
    config = config.copy_and_resolve_references()
    config.service.classifier.l2_grid = (1e-2,)  # another run, made anew
    classifier.make(classifier_run(config, own), context)
    rows, train = held_out(config), data.load("digits", "train").images
    pool = {image.tobytes() for image in train[rows]}
    test = {image.tobytes() for image in data.load("digits", "test").images}
    assert len(seen) == len(train) - len(rows) > 0
    assert pool.isdisjoint(seen) and test.isdisjoint(seen)


def test_what_determines_a_classifier(probed, supervised):
    # Catches a setting that meets an old result, and one that makes a new run for
    # nothing.
    config, own, run, _ = probed
    for key, value in (
        ("service.classifier.l2_grid", (1e-3,)),
        ("service.classifier.validation", 0.3),
        ("data.held_out", 0.5),
        ("data.split_seed", 1),
    ):
        other = config.copy_and_resolve_references()
        other.update_from_flattened_dict({key: value})
        assert classifier_run(other, own).name != run.name, key
        trained = supervised[1]
        assert classifier_run(other, trained).name == supervised[2].name, key
    other = config.copy_and_resolve_references()
    other.probe.l2_grid = (1e-3,)
    assert classifier_run(other, own).name == run.name
    assert run.parents == {"victim": own}


def test_a_supervised_victim_answers_as_it_was_trained(supervised, shown):
    # Catches a probe in its place, a classifier of another step, a bias left out: the
    # state that the training ended with gives the same.
    own, run = (r.path for r in supervised[1:3])
    sealed = read_json(own / "meta.json")["weights"]
    like = checkpoint.stored(own, "state", sealed)
    state = checkpoint.load(own, "state", like, sealed=sealed)
    _, apply = make_mlp((10,), dtype="float32")
    features = open_run(own).embed(shown.images)
    logits, _ = apply(state["params"]["classifier"], {}, features, False)
    found = answering(own, run, "probabilities")(shown.images)
    np.testing.assert_allclose(np.log(found), log_softmax(logits, axis=1), atol=1e-4)
    right = np.mean(np.asarray(logits).argmax(1) == shown.labels)
    label = answering(own, run, "label")(shown.images)[:, 0]
    assert np.mean(label == shown.labels) == right > 0.5  # chance: 0.1


def test_a_supervised_victim_has_no_projection(supervised):
    # Catches logits that are sold as a projection.
    with pytest.raises(UserError, match="no projection head"):
        answering(supervised[1].path, None, "projection")(
            np.zeros((1, 12, 12, 1), "u1")
        )


def test_other_outputs_are_the_encoders(probed, shown):
    # Catches a classifier in the way of features.
    images = shown.images[:5]
    opened = open_run(probed[1].path)
    for output in ("representation", "projection"):
        answers = answering(probed[1].path, None, output)(images)
        assert np.array_equal(answers, opened.embed(images, output))
    with pytest.raises(ValueError, match="'label' without a classifier"):
        answering(probed[1].path, None, "label")


def test_finished_is_not_made_again(probed, monkeypatch):
    # Catches a victim that is embedded at every start.
    monkeypatch.setattr(classifier, "open_run", None)
    classifier.make(probed[2], probed[3])


@pytest.mark.parametrize("damage", ["flipped", "cut", "other", "missing"])
def test_damage_is_one_line(probed, tmp_path, damage):
    # Catches weights that load in silence, and errors of a zip reader.
    run = probed[2]._replace(workdir=tmp_path)
    run.path.mkdir(parents=True)
    source = probed[2].path
    (run.path / "meta.json").write_bytes((source / "meta.json").read_bytes())
    content = bytearray((source / FILE).read_bytes())
    file = run.path / FILE
    if damage == "other":
        arrays = dict(np.load(source / FILE))
        np.savez(file, **arrays | {"bias": arrays["bias"] + 1e-6})
    elif damage != "missing":
        content[len(content) // 2] ^= 1
        file.write_bytes(content if damage == "flipped" else content[:-40])
    with pytest.raises(UserError, match="is damaged; delete .* to make it") as error:
        answering(probed[1].path, run.path, "label")
    assert "\n" not in str(error.value)


def test_imported_weights_are_probed_on_the_named_set(tmp_path):
    # Catches weights that are refused, or probed on the attacker's images.
    encoder = make_encoder("resnet18", stem="cifar", width=8)
    params, stats = encoder.init(
        classifier.jax.random.key(0), np.zeros((1, 12, 12, 1), "f")
    )
    file = tmp_path / "w.safetensors"
    save_file(to_torch("resnet18", params, stats, stem="cifar"), file)
    weights = {
        "victim__weights": str(file),
        "victim__encoder": "resnet18",
        "victim__encoder_kw__resnet18__width": 8,
        "probe__l2_grid": (1e-1,),
        "probe__tolerance": 1e-3,
    }
    config, own, run, _ = made(tmp_path, **weights)
    meta = read_json(run.path / "meta.json")
    total = len(data.ids("digits", "train"))
    assert meta["images"] == total - len(held_out(config))
    label = answering(own.path, run.path, "label")
    assert label(np.zeros((2, 12, 12, 1), "u1")).shape == (2, 1)


def test_an_api_is_refused(probed):
    # Catches a probe on images that an API would have to be paid for.
    config, own, *_ = probed
    api = own._replace(recipe={"origin": "npz", "image_shape": [12, 12, 1]})
    config = config.copy_and_resolve_references()
    config.service.output = "label"
    with pytest.raises(UserError, match="write service.output='representation'"):
        classifier_run(config, api)


def test_a_victim_of_before_is_told_what_to_do(supervised, tmp_path, monkeypatch):
    # Catches a KeyError for a victim whose checkpoint has no classifier.
    _, own, run, context = supervised
    meta = read_json(own.path / "meta.json")
    del meta["weights"]["digests"]["classifier"]
    monkeypatch.setattr(classifier, "read_json", lambda path: meta)
    other = run._replace(name="head-x-0")
    with pytest.raises(UserError, match="delete it to train it again"):
        classifier.make(other, context)
