"""``python -m sslx`` is the command ``sslx``."""

from sslx.cli import main

main()
