"""Weights and cards of victims that come with sslx; see ``sslx.embed.shipped``."""
