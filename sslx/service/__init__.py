"""The black box: an encoder behind a query interface, with exact accounting.

service = serve(
"answers.sqlite",
sslx.open_run("checkpoints/victim/NAME").embed,
image_limit=1000,  # of each account
image_shape=(32, 32, 3),
dim=512,
defence=make_defence(["none"], {}),
secret=None,  # bytes that only the provider knows, for a defence that draws at random
price=0.001,  # USD an image
accounts={"alice": "her key"},
)
answers = service.query("alice", images, api_key="her key")  # float32 (n, 512)
service.counters("alice")
"""

from sslx.service.answering import Embed
from sslx.service.bills import Counters, read_all_counters, read_counters
from sslx.service.blackbox import Service, serve
from sslx.service.defences import DEFENCES, make_defence
from sslx.service.defences.defence import (
    LAWS,
    Calibration,
    Defence,
    Request,
    calibrate,
    check_defence,
)
from sslx.service.detectors import DETECTORS
from sslx.service.puzzles import PaymentRequired, Proof, Puzzle, solve
from sslx.service.readers import read_answers, read_asked, read_notes
from sslx.service.terms import REPEATS, BudgetExceeded

__all__ = [
    "DEFENCES",
    "DETECTORS",
    "LAWS",
    "REPEATS",
    "BudgetExceeded",
    "Calibration",
    "Counters",
    "Defence",
    "PaymentRequired",
    "Proof",
    "Puzzle",
    "Embed",
    "Request",
    "Service",
    "calibrate",
    "check_defence",
    "make_defence",
    "read_all_counters",
    "read_answers",
    "read_asked",
    "read_counters",
    "read_notes",
    "serve",
    "solve",
]
