"""The packages; all else stands in pyproject.toml, which cannot name found and mapped ones."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["autointerp*"]), "autointerp.rubric_files"],
    package_dir={"autointerp.rubric_files": "rubrics"},  # where `rubrics_folder` looks first
)
