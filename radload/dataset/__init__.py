"""A packed data set on disk: manifest, index, labels, shards, and random access to samples."""

from radload.dataset.dataset import Dataset, Sample
from radload.dataset.volume import Volume

__all__ = ["Dataset", "Sample", "Volume"]
