"""Where this command went: ``sslx report``."""

raise SystemExit("sslx: this command is now `sslx report`")
