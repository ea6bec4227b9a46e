"""Golden vectors: data files, and the generator of those in rules/."""
