"""Notebook Scientist: from an idea to a reviewed paper, in notebooks one can read aloud."""

__version__ = "0.1.0"
