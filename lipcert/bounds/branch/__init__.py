"""Branch and bound: one queue (`tree`), and what can be cut."""

from lipcert.bounds.branch.tree import Node, Strategy, Tree, branch

__all__ = ["Node", "Strategy", "Tree", "branch"]
