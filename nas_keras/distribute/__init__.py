"""The processes of a run: how they meet, share work and end."""
