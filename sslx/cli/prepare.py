"""Downloads image sets and prepares them: ``sslx prepare cifar10 svhn_cropped``."""

import argparse
import signal
import sys

from sslx.data.sources.prepare import READERS, prepare
from sslx.data.sources.prepared import locate, open_prepared
from sslx.types import UserError


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="sslx prepare",
        description="Downloads image sets and prepares them for sslx (TFDS's array_"
        "record format), without TensorFlow.",
        epilog="Archives are kept in DIR/downloads/NAME, where they can also be put by "
        "hand; a set that is prepared already is left alone. svhn_cropped (1.5 GB) and "
        "stl10 (2.6 GB) are large downloads.",
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help=", ".join(READERS))
    parser.add_argument(
        "--data_dir",
        metavar="DIR",
        help="where sets lie (TFDS_DATA_DIR, else ~/tensorflow_datasets)",
    )
    args = parser.parse_args(argv)
    # KeyboardInterrupt, as of Ctrl-C, so that half-done work is removed.
    before_term = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for name in args.names:
            before = locate(name, args.data_dir)
            folder = prepare(name, args.data_dir)
            sizes = open_prepared(folder).builder.info.splits
            counts = ", ".join(f"{i.num_examples:,} {s}" for s, i in sizes.items())
            word = "is prepared already" if before else "prepared"
            print(f"{name} {word}: {folder} ({counts} images)", flush=True)
    except UserError as error:
        print(f"sslx: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("sslx: interrupted; whole downloads are kept", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before_term)
    return 0
