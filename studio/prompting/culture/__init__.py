"""What a brief says of places, times, occasions and people, and what to be careful with."""
