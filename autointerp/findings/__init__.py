"""What the ratings say: estimates with their intervals, and what speaks against them."""
