"""What every part needs and nothing else: errors, specs, text, models, the architecture table."""
