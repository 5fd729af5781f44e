"""Push Pals: a self-hosted coding team that lives beside a repository."""

__version__ = "0.1.0"
