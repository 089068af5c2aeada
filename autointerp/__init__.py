"""Are these units interpretable, and more so than those?"""

__version__ = "0.1.0"
