"""A packed data set on disk: manifest, index, labels, shards, and random access to samples."""

from radload.dataset.dataset import Dataset, Sample

__all__ = ["Dataset", "Sample"]
