"""Model servers as processes: started, watched, put to sleep and ended; nothing that was started is left behind."""
