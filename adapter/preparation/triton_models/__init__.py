"""What Triton is told of each model."""
