"""The victim's run: trained here, weights, or an API; and what the provider adds.

Recipes name content, never a place: a data set's identity, the weights, the recorded
answers, or the answers of a function to a few fixed images (its name alone where it is
not to be asked any).
"""

from pathlib import Path

from ml_collections import ConfigDict

from sslx import data
from sslx.data.splits import divide
from sslx.embed import function, recording, shipped
from sslx.embed.finished import KINDS
from sslx.experiment.recipes import (
    check_solver,
    encoder_of,
    normalisation,
    reading,
    share,
    unlabelled,
)
from sslx.models.torch_names import NAMED
from sslx.models.weight_files import read_trunk
from sslx.objectives import OBJECTIVES
from sslx.registry import pick, traits_of
from sslx.runs.names import Run, make_run
from sslx.train import checkpoint
from sslx.types import UserError, refuse_if

INDEPENDENT = 1_000_000  # the first seed of encoders that nobody steals


def victim_run(config: ConfigDict, workdir: Path) -> Run:
    """The victim's run.

    Raises:
        UserError: Whatever is wrong in the sections data and victim.
    """
    make = _foreign if is_foreign(config) else _trained
    return make(config, workdir)


def independent_runs(config: ConfigDict, workdir: Path) -> list[Run]:
    """Victims of seeds that are used for nothing else."""
    n = config.probe.independent
    refuse_if(
        n < 0,
        f"probe.independent must be 0 or more, not {n}",
    )
    refuse_if(
        n and is_foreign(config),
        "probe.independent trains encoders as the victim was trained, and this one "
        "comes from elsewhere; write 0",
    )
    out = []
    for i in range(n):
        other = config.copy_and_resolve_references().unlock()
        other.seed = INDEPENDENT + i
        out.append(_trained(other, workdir))
    return out


def _trained(config: ConfigDict, workdir: Path) -> Run:
    """The run of a victim that is trained here."""
    v, options = config.victim, reading(config)
    info = data.describe(v.dataset, options)
    if config.data.held_out:  # 0: the attacker brings images of other origin
        share("data.held_out", config.data.held_out)
    rows, _ = divide(
        data.ids(v.dataset, "train", options),
        config.data.held_out,
        config.data.split_seed,
    )
    refuse_if(
        v.watch_every < 0,
        f"victim.watch_every must be 0 or more, not {v.watch_every}",
    )
    what = f"victim.dataset={v.dataset!r}"
    if traits_of(pick(OBJECTIVES, v.objective, "objective")).labels:
        why = (
            f"victim.objective={v.objective!r} needs classes: choose another objective"
        )
        data.check_labelled(info, what, why)
    if v.watch_every:
        why = "watching a victim needs classes: write victim.watch_every=0"
        data.check_labelled(info, what, why)
    recipe = {
        "seed": config.seed,
        "data": info.identity,
        "held_out": config.data.held_out,
        "split_seed": config.data.split_seed,
        **(data.copies(v.dataset, options, "train") if config.data.held_out else {}),
        "image_shape": info.image_shape,
        **normalisation(config, info.image_shape[2]),
        **unlabelled(
            v, "victim", encoder_of(v, config.precision), info.classes, len(rows)
        ),
    }
    slug = f"{v.objective}-{v.encoder}-{info.slug}-s{config.seed}"
    return make_run(workdir, "victim", slug, recipe, {}, {"augment": v.augment})


def is_foreign(config: ConfigDict) -> bool:
    """Whether the victim of a config comes from elsewhere."""
    return bool(config.victim.weights or config.victim.source)


def _foreign(config: ConfigDict, workdir: Path) -> Run:
    """The run of a victim from elsewhere.

    Raises:
        UserError: Bad weights, a bad file of answers, a function that does not answer.
    """
    v = config.victim
    refuse_if(
        v.weights and v.source,
        "victim.weights and victim.source are two victims; leave one of them empty",
    )
    if v.weights:
        return _of_weights(config, workdir)
    kind, _, rest = v.source.partition(":")
    if kind == "npz":
        found = recording.record(rest)
        dim = found.embeddings.shape[1]
        recipe = {
            "origin": "npz",
            "answers": checkpoint.digest(recording.item_of(found)),
            "images": len(found.images),
            "image_shape": found.images.shape[1:],
        }
        return make_run(workdir, "victim", f"npz-{dim}d", recipe | {"dim": dim}, {})
    if kind == "python":
        shape = _image_shape(config)
        answers, dim = _identity(config, rest, shape)
        recipe = {"origin": "python", "function": rest, "answers": answers}
        recipe |= {"image_shape": shape, "dim": dim}
        slug = f"python-{rest.replace(':', '.')}"
        return make_run(workdir, "victim", slug, recipe, {})
    if name := shipped.named(v.source):
        return _of_shipped(config, workdir, name)
    raise UserError(
        f"unknown victim.source {v.source!r}; write shipped:NAME, npz:FILE or "
        "python:MODULE:FUNCTION"
    )


def _identity(
    config: ConfigDict, spec: str, shape: tuple[int, ...]
) -> tuple[str | None, int]:
    """What names a function: digest and width of its answers; None: not asked.

    Raises:
        UserError: As ``function.identify``; or it is not to be asked, and nothing says
            how wide its answers are.
    """
    dim = config.victim.dim
    refuse_if(dim < 0, f"victim.dim must be 0 or more, not {dim}")
    if config.service.self_check:
        answers, found = function.identify(spec, shape)
        refuse_if(
            dim not in (0, found),
            f"victim.dim is {dim}, but python:{spec} answers with {found} numbers",
        )
        return answers, found
    refuse_if(
        not dim,
        "service.self_check=False asks nothing before the plan, so say how many "
        f"numbers python:{spec} answers with: victim.dim",
    )
    function.leave_unchecked(spec)
    return None, dim


def _image_shape(config: ConfigDict) -> tuple[int, ...]:
    """Of ``victim.dataset``, which the attacker's images are drawn from as well."""
    if config.data.held_out:
        share("data.held_out", config.data.held_out)
    return tuple(data.describe(config.victim.dataset, reading(config)).image_shape)


def _of_weights(config: ConfigDict, workdir: Path) -> Run:
    v = config.victim
    pick(NAMED, v.encoder, "encoder with PyTorch names")
    shape, encoder = _image_shape(config), encoder_of(v, config.precision)
    trunk = read_trunk(v.weights, encoder.meta)
    takes = trunk["params"]["stem_conv"]["kernel"].shape[2]
    refuse_if(
        takes != shape[2],
        f"{v.weights} takes images of {takes} channels, those of {v.dataset!r} "
        f"have {shape[2]}; set data.channels={takes}",
    )
    recipe = {
        "origin": "weights",
        "weights": checkpoint.digest(trunk),
        "encoder": encoder.meta,
        "image_shape": shape,
        **normalisation(config, shape[2]),
    }
    return make_run(workdir, "victim", f"weights-{v.encoder}", recipe, {})


def _of_shipped(config: ConfigDict, workdir: Path, name: str) -> Run:
    """A victim that comes with sslx: weights whose training images are known."""
    card, shape = shipped.victims()[name], _image_shape(config)
    refuse_if(
        list(shape) != card["image_shape"],
        f"shipped:{name} takes images of shape {tuple(card['image_shape'])}, those of "
        f"victim.dataset={config.victim.dataset!r} have {shape}; data.size and "
        "data.channels bring them together",
    )
    shipped.file_of(name)  # raises where it is damaged
    keys = ("weights", "encoder", "image_shape", "mean", "std")
    recipe = {"origin": "weights", "shipped": name} | {key: card[key] for key in keys}
    return make_run(workdir, "victim", f"shipped-{name}", recipe, {})


def unanswered(config: ConfigDict, names: list[str]) -> dict[str, int]:
    """The probes' sets that the victim cannot answer, and how many images it lacks."""
    file = recording.recorded_in(config.victim.source)
    if not file:
        return {}
    counts = {name: recording.unanswered(file, name, reading(config)) for name in names}
    return {name: n for name, n in counts.items() if n}


def classifier_run(config: ConfigDict, victim: Run) -> Run:
    """The run that makes a classifier of a victim.

    Raises:
        UserError: The victim is an API's, or its data set has a single class.
    """
    r, slug = victim.recipe, victim.name.rpartition("-")[0]
    refuse_if(
        r.get("origin") in KINDS,
        f"service.output={config.service.output!r} needs a victim that was trained "
        "here or brought as weights (victim.weights): an API's answers with "
        "nothing but its representation; write service.output='representation'",
    )
    if r.get("objective") == "supervised":
        recipe = {"kind": "head", "classes": r["classes"]}
        return make_run(
            victim.workdir, "classifier", f"head-{slug}", recipe, {"victim": victim}
        )
    check_solver("service.classifier", config.service.classifier)
    name = config.victim.dataset
    info = data.describe(name, reading(config))
    why = f"service.output={config.service.output!r} needs classes: write "
    data.check_labelled(info, f"victim.dataset={name!r}", f"{why}'representation'")
    known = r.get("shipped")
    recipe = {
        "kind": "probe",
        "data": info.identity,
        "held_out": None if known else config.data.held_out,
        "split_seed": config.data.split_seed,
        **({"shipped": known} if known else {}),
        **data.copies(name, reading(config), "train"),
        "classes": info.classes,
        **config.service.classifier.to_dict(),
    }
    return make_run(
        victim.workdir, "classifier", f"probe-{slug}", recipe, {"victim": victim}
    )
