"""Where this command went: ``sslx export``."""

if __name__ == "__main__":
    raise SystemExit("sslx: this command is now `sslx export`")
