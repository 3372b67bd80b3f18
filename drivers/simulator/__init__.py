"""A simulated observatory with a known truth that speaks real Alpaca: rehearsals take the road of the hardware."""
