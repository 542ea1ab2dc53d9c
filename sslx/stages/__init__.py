"""How runs are made: one file a stage. They know neither configs nor reports."""
