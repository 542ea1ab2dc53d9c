"""What is asked, of whom, and in which order."""
