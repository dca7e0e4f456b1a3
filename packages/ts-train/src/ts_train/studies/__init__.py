"""Many runs that answer one question: search, scaling laws, ablations, and the plots of their results."""
