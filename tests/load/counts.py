"""How much of each load: the short form of the test suite, or the long one that scripts/soak asks for."""

import os

IS_SOAK = os.environ.get("RINGWAY_LOAD") == "soak"


def count(short, long):
    return long if IS_SOAK else short


def report(text):
    """One line of figures; `pytest -s` shows it."""
    print(f"\n   {text}", flush=True)
