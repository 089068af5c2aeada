"""Figures that `make bench` measures. A file here gives some, by a function `figures`."""
