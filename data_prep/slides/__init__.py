"""Whole-slide histology: ready embeddings, or tissue patches and vectors from raw slides."""
