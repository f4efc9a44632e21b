"""What runs leave on disk, whole or not at all: files, locks, snapshots."""
