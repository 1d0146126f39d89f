"""Parts that bear no network's name, each for two families or more."""
