"""Right derivations: layers of the usual kinds, random configurations, and unusual words."""
