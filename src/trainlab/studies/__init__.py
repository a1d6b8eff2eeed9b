"""What only the studies measure and draw: capacity, layers, learning curves, sparsity, losses of single images."""
