"""Handing a model on: a folder without patients, its card, a model hub."""
