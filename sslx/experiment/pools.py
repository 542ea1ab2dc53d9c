"""The attacker's images: what they are, and where they lie."""

import hashlib
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from sslx import data
from sslx.data.splits import divide
from sslx.embed import recording, shipped
from sslx.experiment.recipes import positive, reading, share
from sslx.experiment.separation import NOBODY, Apart, Test, not_for_sale
from sslx.rng import host_stream
from sslx.runs.names import Run, make_run
from sslx.types import refuse_if


class Pool(NamedTuple):
    """The attacker's images.

    Attributes:
        identity: Of their data set, as in ``data.Info``.
        slug: Likewise.
        image_shape: (h, w, c).
        split: Of the data set.
        size: How many they are.
        labelled: Whether their classes are known.
        apart: Images that would be his, but are the victim's or a test's.
    """

    identity: dict[str, Any]
    slug: str
    image_shape: tuple[int, ...]
    split: str
    size: int
    labelled: bool
    apart: Apart


def _source(config: ConfigDict) -> tuple[str, str, np.ndarray]:
    """The attacker's images: (data set, split, rows)."""
    pool, test_kept = config.steal.pool, config.steal.test_kept
    options, victims = reading(config), config.victim.dataset
    if pool == "held_out" and (name := shipped.named(config.victim.source)):
        known = shipped.unseen(name)
        rows = np.flatnonzero(np.isin(data.marks(victims, "train", options), known))
        refuse_if(
            len(rows) < shipped.FOUND * len(known),
            f"steal.pool='held_out' of shipped:{name} is the {len(known):,} images "
            f"that it did not see; {len(rows):,} of them are in victim.dataset="
            f"{victims!r}: name {shipped.victims()[name]['dataset']}",
        )
        return victims, "train", rows
    if pool == "held_out":
        refuse_if(
            not config.data.held_out,
            "steal.pool='held_out' is what data.held_out leaves the attacker, and that "
            "is 0; write data.held_out=0.2, or name a set in steal.pool",
        )
        ids = data.ids(victims, "train", options)
        _, rows = divide(ids, config.data.held_out, config.data.split_seed)
        return victims, "train", rows
    if pool == "test":
        share("steal.test_kept", test_kept)
        data.check_has(data.describe(victims, options), "test", f"{victims!r}")
        ids = data.ids(victims, "test", options)
        rows, _ = divide(ids, test_kept, config.data.split_seed)
        return victims, "test", rows
    info = data.describe(pool, options)
    trained = not (config.victim.weights or config.victim.source)
    refuse_if(
        trained and info.identity == data.describe(victims, options).identity,
        f"steal.pool {pool!r} is what the victim was trained on; write held_out or "
        "test for the images it did not see",
    )
    return pool, "train", np.arange(info.sizes["train"])


def sets_of(config: ConfigDict) -> list[tuple[str, data.Options]]:
    """The sets at hand whose test images no recording sells: probes' and users'."""
    found, options, honest = [], reading(config), config.service.honest
    for name in (*config.probe.datasets, *(honest.beside if honest.users else ())):
        try:
            data.describe(name, options)
            found.append((name, options))
        except data.Missing:
            if not config.probe.skip_missing:
                raise
    return found


def _answered(file: str, config: ConfigDict) -> Pool:
    """The images that an API was asked elsewhere, but for the probes' test images."""
    images = recording.askable(file, sets_of(config))
    digest = hashlib.sha256(recording.content(images).tobytes()).hexdigest()
    size, known = len(images), len(recording.record(file).images)
    why = (
        f"{known - size:,} of {known:,} recorded images left out: test images of "
        f"{', '.join(repr(name) for name, _ in sets_of(config))}"
    )
    return Pool(
        *({"answered": digest}, "answered", images.shape[1:], "all", size, False),
        NOBODY._replace(why=why if size < known else ""),
    )


def open_pool(config: ConfigDict, tests: list[Test]) -> Pool:
    """The attacker's images, as ``steal.pool`` names them.

    Args:
        config: Of one combination.
        tests: What is judged on.
    """
    recorded, pool = recording.recorded_in(config.victim.source), config.steal.pool
    refuse_if(
        recorded and pool != "answered",
        f"victim.source={config.victim.source!r} answers only the images in that "
        f"file; write steal.pool='answered', not {pool!r}",
    )
    if pool == "answered":
        refuse_if(
            not recorded,
            "steal.pool='answered' needs victim.source='npz:FILE'",
        )
        return _answered(recorded, config)
    name, split, rows = _source(config)
    more = {}
    if measured := measured_on(config, tests):
        more = {"images that the provider measures answers on": measured.marks}
    apart = not_for_sale(config, name, split, rows, tests, more)
    return _pool(config, name, split, rows, apart)


class Measured(NamedTuple):
    """The images that a provider measures the victim's answers on.

    Attributes:
        pool: They, as a pool.
        recipe: What determines them.
        marks: Of them, as of ``sslx.data.marks``.
    """

    pool: Pool
    recipe: dict[str, Any]
    marks: np.ndarray


def measured_on(config: ConfigDict, tests: list[Test]) -> Measured | None:
    """What ``service.calibration`` names; None for no images.

    They are neither the victim's nor a test's, and whoever steals has others.

    Args:
        config: Of one combination.
        tests: What is judged on.

    Raises:
        UserError: There are not so many.
    """
    wanted = config.service.calibration
    positive("service.calibration", {"images (or 0)": wanted.images or 1})
    if not wanted.images:
        return None
    refuse_if(
        wanted.data in ("test", "answered"),
        f"service.calibration.data must be 'held_out' or a set, not {wanted.data!r}",
    )
    own = config.copy_and_resolve_references().unlock()
    own.steal.pool = wanted.data
    name, split, rows = _source(own)
    free = np.setdiff1d(rows, not_for_sale(own, name, split, rows, tests).rows)
    refuse_if(
        wanted.images >= len(free),
        f"service.calibration.images is {wanted.images}, but {wanted.data!r} has "
        f"{len(free)} images, and others are to be left",
    )
    # Neither the attacker's seed nor the victim's: all of a table are measured alike.
    random = host_stream(config.data.split_seed or 0, "calibration")
    chosen = random.choice(free, wanted.images, replace=False)
    pool = _pool(own, name, split, rows, Apart(np.setdiff1d(rows, chosen), ""))
    marks = data.marks(name, split, reading(own))[chosen]
    return Measured(pool, pool_part(own, pool), marks)


def _pool(
    config: ConfigDict, name: str, split: str, rows: np.ndarray, apart: Apart
) -> Pool:
    info = data.describe(name, reading(config))
    size = len(rows) - len(apart.rows)
    what = (info.identity, info.slug, info.image_shape)
    return Pool(*what, split, size, info.classes > 1, apart)


def pool_part(config: ConfigDict, pool: Pool) -> dict[str, Any]:
    """What determines the attacker's images, for a recipe."""
    s = config.steal
    name = shipped.named(config.victim.source) if s.pool == "held_out" else ""
    divided = s.pool in ("held_out", "test") and not name
    held_out = config.data.held_out if s.pool == "held_out" and not name else None
    return {
        **({"shipped": name} if name else {}),
        "pool": pool.identity,
        "split": pool.split,
        "held_out": held_out,
        "test_kept": s.test_kept if s.pool == "test" else None,
        "split_seed": config.data.split_seed if divided else None,
        **(
            data.copies(config.victim.dataset, reading(config), pool.split)
            if divided
            else {}
        ),
        **pool.apart.recipe(),
    }


def not_beside_older(run: Run, split_seed: int | None) -> Run:
    """Refuses to make a run anew that sslx 0.1 has made under another name.

    It wrote ``data.split_seed`` into the recipes of pools that no split makes.

    Raises:
        UserError: The older run is there, and the run itself is not.
    """

    def older(run: Run) -> Run:
        """As 0.1 had named it and what it builds on."""
        r, slug = run.recipe, run.name.rpartition("-")[0]
        if "pool" in r and r["held_out"] is None and r["test_kept"] is None:
            r = r | {"split_seed": split_seed}
        parents = {role: older(parent) for role, parent in run.parents.items()}
        return make_run(run.workdir, run.stage, slug, r, parents)

    path = older(run).path
    refuse_if(
        path.exists() and not run.path.exists(),
        f"{path} is of sslx 0.1, whose names of such runs differ; take another "
        "--workdir, or delete it to make it anew",
    )
    return run
