"""What books write: fused operations in their parts, and the derivatives that are known in closed form."""
