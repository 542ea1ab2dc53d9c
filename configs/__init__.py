"""Experiments, one file each; ``default.py`` has every key."""
