"""The version of this package, as it was installed."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("relsplit")
except PackageNotFoundError:  # a checkout on the path
    __version__ = "0+unknown"
