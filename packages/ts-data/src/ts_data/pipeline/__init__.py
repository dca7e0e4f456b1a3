"""`prepare`: raw stories to splits/, in stages that can resume."""
