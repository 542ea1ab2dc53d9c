"""Evaluation of frozen features: arrays in, numbers out; knows no config."""
