"""Several defences one behind the other, as one."""

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from sslx.service.defences.defence import Defence, Request, State
from sslx.types import refuse_if


def chain(parts: Mapping[str, Defence]) -> Defence:
    """The defence whose answers go through all parts, the first next to the victim.

    Images come the other way: the part next to the victim changes them last. Each part
    keeps its own state, rows and notes, the latter called NAME.NOTE, and draws by keys
    of its own. What an image costs is the sum over the parts. It wants what one of them
    wants, and keeps what all keep.

    Args:
        parts: By name; of one alone it is that one.

    Raises:
        UserError: A part is calibrated on the victim's answers and stands behind one
            that makes other numbers of them.
    """
    if len(parts) == 1:
        return next(iter(parts.values()))
    _check_fit(parts)
    numbered = list(enumerate(parts.items()))

    def init(dim: int, key: np.ndarray | None) -> State:
        out: State = {}
        for i, (name, part) in numbered:
            state = part.init(dim, _key(key, i))
            out |= {f"{name}.{k}": value for k, value in state.items()}
            dim = part.out_dim(dim)
        return out

    def apply(state: State, request: Request):
        after: State = {}
        rows: list[np.ndarray] = []
        notes: dict[str, np.ndarray] = {}
        answers = request.raw
        for i, (name, part) in numbered:
            given = request._replace(
                raw=answers.astype(np.float32),
                keys=_key(request.keys, i),
                past=_past(request.past, i),
            )
            answers, own, appended, noted = part.apply(_own(state, name), given)
            after |= {f"{name}.{k}": value for k, value in own.items()}
            notes |= {f"{name}.{k}": value for k, value in noted.items()}
            if appended is not None:
                whose = [i, appended.shape[1]]
                rows.append(np.insert(appended, [1, 1], whose, axis=1))
        return answers, after, _stacked(rows), notes

    def out_dim(dim: int) -> int:
        for part in parts.values():
            dim = part.out_dim(dim)
        return dim

    def before(state: State, images: np.ndarray, *gradient: Callable) -> np.ndarray:
        for name, part in reversed(list(parts.items())):
            more = gradient if "gradient" in part.wants else ()
            images = part.before(_own(state, name), images, *more)
        return images

    def demand(state: State, n: int) -> float:
        bits = [part.demand(_own(state, name), n) for name, part in parts.items()]
        hashes = sum(2.0**b for b in bits if b)
        return math.log2(hashes) if hashes else 0.0

    every = parts.values()
    return Defence(
        *(init, apply, out_dim, before, demand),
        wants=frozenset().union(*(part.wants for part in every)),
        exempt=frozenset().union(*(part.exempt for part in every)),
        units=all(part.units for part in every),
    )


def _check_fit(parts: Mapping[str, Defence]) -> None:
    other = ""  # the part that makes other numbers of the victim's
    for name, part in parts.items():
        refuse_if(
            other and "calibration" in part.wants,
            f"service.defence: {name!r} is calibrated on the victim's answers, and "
            f"{other!r} before it makes other numbers of them; put {name!r} first",
        )
        other = other or ("" if part.units else name)


def _key(key: np.ndarray | None, i: int) -> np.ndarray | None:
    """Another key for each part: two that draw must not draw alike."""
    if key is None or i == 0:
        return key
    return key ^ np.array([0] * 7 + [i], np.uint32)


def _own(state: State, name: str) -> State:
    lead = f"{name}."
    return {k[len(lead) :]: v for k, v in state.items() if k.startswith(lead)}


def _past(past: Callable, i: int) -> Callable:
    """A part's rows alone, as it appended them.

    The second number of a row in the ledger says whose it is, the third how long it was
    before it was filled up. No release has written rows of a chain in another form.
    """

    def own(buckets: Iterable[int | np.integer]) -> list[np.ndarray]:
        found = (row for row in past(buckets) if row[1] == i)
        return [np.delete(row, [1, 2])[: row[2]] for row in found]

    return own


def _stacked(rows: list[np.ndarray]) -> np.ndarray | None:
    """Rows of several lengths, the short ones filled up with zeros."""
    if not rows:
        return None
    width = max(part.shape[1] for part in rows)
    return np.concatenate([np.pad(r, ((0, 0), (0, width - r.shape[1]))) for r in rows])
