"""What the programs in train/ share."""
