"""Builds the C core; everything else is in pyproject.toml."""

from setuptools import setup

setup(cffi_modules=["zllm/_native/build.py:ffi"])
