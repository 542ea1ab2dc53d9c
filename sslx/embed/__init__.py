"""Whatever can be asked for features."""
