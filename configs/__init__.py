"""The recipes: a file each, with a function `get_config`; `fsjax.configs.NAME` in a clone and in a wheel alike."""
