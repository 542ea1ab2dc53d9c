"""Of a study behind a defence: honest users, thieves, and who of them is seen."""
