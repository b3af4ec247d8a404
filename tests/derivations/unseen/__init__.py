"""Derivations by testers who had not seen the code; `benchmarks.detection.unseen` tells how they were made."""
