"""What a flow is: its steps and their settings, written in Python or in a file, checked, and changed for one run."""
