"""How runs are made: one file a stage. They know neither configs nor reports.

A stage is ``make(run, context)``: the run says all that decides the result, the context
how it is carried out and where data lie.
"""

from collections.abc import Callable

from sslx.context import Context
from sslx.runs.names import Run
from sslx.stages import (
    answers,
    classifier,
    detection,
    features,
    fidelity,
    gallery,
    honest,
    probe,
    steal,
    victim,
)

STAGES: dict[str, Callable[[Run, Context], None]] = {
    "victim": victim.make,
    "classifier": classifier.make,
    "responses": answers.make,
    "steal": steal.make,
    "features": features.make,
    "probe": probe.make,
    "fidelity": fidelity.make,
    "gallery": gallery.make,
    "honest": honest.make,
    "detection": detection.make,
}
