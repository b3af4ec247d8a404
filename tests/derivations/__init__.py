"""Derivations with what is so of them: right ones, wrong ones, and those of testers who had not seen the code."""
