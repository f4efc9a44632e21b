"""Programs: absl flags -> one frozen configuration -> one library call."""
