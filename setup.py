"""Builds the C core; everything else is in pyproject.toml."""

from setuptools import setup

# cffi builds for the limited API: one extension, and so one wheel, for CPython 3.10 and all that come after it.
setup(cffi_modules=["zllm/_native/build.py:ffi"], options={"bdist_wheel": {"py_limited_api": "cp310"}})
