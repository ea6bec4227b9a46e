"""Coverage-guided fuzzing: `make fuzz SECONDS=600`. Each target is a function of bytes; tests/fuzz runs them too."""
