"""A demonstration on generated data: `python -m radload.demo --out demo`."""
