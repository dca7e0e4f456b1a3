"""Instructions in the manner of TinyStories-Instruct: prompts made from the stories of splits by stated rules."""
