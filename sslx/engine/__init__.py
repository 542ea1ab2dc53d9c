"""One training loop for every stage. It is handed an Objective and knows no method."""
