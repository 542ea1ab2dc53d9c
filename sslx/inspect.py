"""Where this command went: ``sslx inspect``."""

if __name__ == "__main__":
    raise SystemExit("sslx: this command is now `sslx inspect`")
