"""Which exchange model made a neutron spectrum, how sure is that, and where in the data is the evidence."""

from importlib.metadata import version

__version__ = version("magnoscope")
