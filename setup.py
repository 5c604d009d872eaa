"""Where the packages lie: the four folders at the top are subpackages of `admbench`. All else is in pyproject.toml."""

from setuptools import find_packages, setup

ROOMS = ("bench", "methods", "metrics", "leaderboard")

setup(
    packages=[
        "admbench",
        *(f"admbench.{name}" for room in ROOMS for name in find_packages(include=[room, f"{room}.*"])),
    ],
    package_dir={"admbench": "admbench", **{f"admbench.{room}": room for room in ROOMS}},
)
