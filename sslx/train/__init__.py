"""One training loop for every stage. It knows nothing of self-supervision."""
