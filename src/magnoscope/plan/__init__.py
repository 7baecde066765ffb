"""Before the experiment: where to measure, and for how long, to tell the candidates apart."""

from .planning import DRAWS, Plan, plan

__all__ = ["DRAWS", "Plan", "plan"]
