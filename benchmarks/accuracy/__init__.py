"""How well the network learns."""
