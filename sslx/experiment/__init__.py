"""From a config to a graph of runs. The only floor that sees a config."""
