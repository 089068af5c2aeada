"""Arrays in, numbers out: estimates with intervals, tests, agreement, ranks, power.

Modules `import scipy` alone: `scipy.stats` takes half a second, and loads when it is first used.
"""
