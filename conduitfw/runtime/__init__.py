"""The processes: supervisor, workers, control; and what they share."""
