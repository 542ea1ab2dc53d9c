"""Training methods. Victims' ones stand in the table, one file each.

Every entry of ``OBJECTIVES`` is called ``objective(encoder, views, task, **numbers)``;
``views(key, images)`` turns uint8 (b, h, w, c) into random views of each image,
(b, v, h, w, c), float32 and normalised. Batch-major: laid out the other way round,
every device would compute the whole batch.
"""

from collections.abc import Callable

from sslx.objectives.barlow import barlow
from sslx.objectives.byol import byol
from sslx.objectives.moco import moco
from sslx.objectives.simclr import simclr
from sslx.objectives.simsiam import simsiam
from sslx.objectives.supervised import supervised
from sslx.objectives.vicreg import vicreg
from sslx.types import Objective

OBJECTIVES: dict[str, Callable[..., Objective]] = {
    "barlow": barlow,
    "byol": byol,
    "moco": moco,
    "simclr": simclr,
    "simsiam": simsiam,
    "supervised": supervised,
    "vicreg": vicreg,
}
