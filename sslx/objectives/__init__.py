"""Training methods. Victims' ones stand in the table, one file each.

Every entry of ``OBJECTIVES`` is called ``objective(encoder, view, *, dtype,
**numbers)``; ``view(key, images)`` turns uint8 (b, h, w, c) into one random view of
each image, float32 and normalised.
"""

from sslx.objectives.simclr import simclr

OBJECTIVES = {"simclr": simclr}
