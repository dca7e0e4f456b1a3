"""The parts that architectures are made of; each module can be read alone."""
