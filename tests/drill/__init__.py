"""The drill: faults, damage, bad and hostile input, on small models in real processes. `make drill` runs it all."""
