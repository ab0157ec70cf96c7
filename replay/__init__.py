"""The producer: turns files into paced batches. Readers are loaded when a source is opened."""
