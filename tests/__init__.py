"""One folder for each room, one file for each promise; the derivations that several of them use stand in one more."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # of the checkout
