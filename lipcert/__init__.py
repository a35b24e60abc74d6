"""lipcert: proven Lipschitz bounds for neural networks."""

__version__ = "0.1.0"
