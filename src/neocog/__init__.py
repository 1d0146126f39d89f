"""neocog."""
