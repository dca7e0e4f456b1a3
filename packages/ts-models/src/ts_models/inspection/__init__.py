"""Looking inside a network: tensors of a forward pass by name, and a page that shows what a model does with a text."""
