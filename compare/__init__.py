"""The only place that knows both sides: it trains them in lockstep, judges every stage, and says why not."""
