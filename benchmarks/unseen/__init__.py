"""Derivations by testers who had not seen the code; `run.py` tells how they were made."""
