"""A configured search from beginning to end."""
