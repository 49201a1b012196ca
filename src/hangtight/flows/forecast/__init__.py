"""How far a run is, and when it will probably end."""
