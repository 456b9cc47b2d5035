"""magicgen: a steerable diffusion transformer for trajectories, stories and reflections."""

__version__ = "0.1.0"
