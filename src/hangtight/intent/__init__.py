"""What the text so far means for the deadline: loops, phases, tools, advice. Pure: text in, findings out."""
