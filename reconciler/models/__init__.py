"""What both halves of the product share. No I/O."""
