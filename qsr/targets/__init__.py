"""Hardware that integer models run on, as data: one table a file, each fact with its source."""
