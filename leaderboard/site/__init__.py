"""The static site: pages that need no server and no network, made from records."""

from admbench.leaderboard.site.build import SitePaths, build_site

__all__ = ["SitePaths", "build_site"]
