"""Where in the data the evidence for a verdict lies, and whether an explanation deserves its name."""

from .attribution import METHODS, OF_MATCHES, Explanation, explain
from .checks import Checks, check

__all__ = ["METHODS", "OF_MATCHES", "Checks", "Explanation", "check", "explain"]
