"""Data sets in object stores (`s3://`, `gs://`): uploaded whole, read as ranges of bytes or as shards on the node's own disk."""
