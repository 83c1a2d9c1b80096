"""Programs for developers: they generate files that are kept in the repository, or check them."""
