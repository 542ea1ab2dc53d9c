"""Where this command went: ``sslx prepare``."""

if __name__ == "__main__":
    raise SystemExit("sslx: this command is now `sslx prepare`")
