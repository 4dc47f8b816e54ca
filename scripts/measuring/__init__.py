"""What scripts/bench is made of. Standard library only, as binaries.py and wire.py beside it."""
