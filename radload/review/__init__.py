"""Pages about the files in quarantine, for a person who decides: projections per group, and decisions.toml to fill in."""

from radload.review.command import Reviewed, review

__all__ = ["Reviewed", "review"]
