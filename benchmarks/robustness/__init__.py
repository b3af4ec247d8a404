"""Is a right run ever called wrong, or a run that is killed ever lost?"""
