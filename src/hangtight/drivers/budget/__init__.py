"""`hangtight.budget`: the task and its steps, where a call stands in them, and the alarm that says to wrap up."""
