"""What the kernel is told and asked: the ruleset, the queue, packets of our own, and the host's fitness."""
