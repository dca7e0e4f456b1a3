"""How much of the training stories a model gives back word by word, by prompt length, copies and model size."""
