"""Runs on disk: names, files, locks, and what builds on what."""
