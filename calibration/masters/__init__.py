"""Masters as arithmetic: recipes, scales, backgrounds, quality and flags."""
