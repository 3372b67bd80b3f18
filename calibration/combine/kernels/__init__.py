"""The compiled engine of combining: `entries` is what others call, `tiles` what they share with it."""
